"""Hidden states and an output head → −ln p of each target, without the logits of a whole batch.

The head is applied to a few positions at a time, whose logits stay in the cache: for a small model
on a CPU that halves what logits first and losses then cost. Where gradients are asked for they are
taken from the same logits at once, so that nothing is computed twice and nothing is kept.

Shapes: N positions, C of them at a time, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

# Floats of logits at a time: 1 MB stays in a CPU's second-level cache, 1 GB fills an accelerator.
LOGITS_AT_A_TIME = {"cpu": 2**18, "cuda": 2**28}
LARGE = 1000.0

_heads: WeakKeyDictionary[nn.Module, nn.Linear | None] = WeakKeyDictionary()


def target_nats(hidden_NH: Tensor, head: nn.Linear, targets_N: Tensor) -> Tensor:
    """Return −ln p of each target under the softmax of the head's logits; 0 for negative targets.

    Not differentiable.
    """
    nats_N, some_N = hidden_NH.new_empty(len(targets_N)), targets_N.clamp(min=0)
    with torch.no_grad():
        for part, log_p_CV in _log_probabilities(hidden_NH, head):
            nats_N[part] = log_p_CV.gather(1, some_N[part, None])[:, 0]
    return nats_N.neg_().masked_fill_(targets_N < 0, 0.0)


def sum_backward(
    hidden_NH: Tensor, head: nn.Linear, targets_N: Tensor, *, scale: float
) -> tuple[Tensor, Tensor]:
    """Return what `target_nats` does, and ∇(scale · their sum) by the hidden states.

    The gradient by the head's parameters is added to their `grad`. Per logit it is softmax − 1 at
    the target, softmax elsewhere.
    """
    nats_N, some_N = hidden_NH.new_empty(len(targets_N)), targets_N.clamp(min=0)
    weights_N = (targets_N >= 0).to(hidden_NH.dtype).mul_(scale)
    gradient_NH = torch.empty_like(hidden_NH)
    with torch.no_grad():
        for part, log_p_CV in _log_probabilities(hidden_NH, head):
            nats_N[part] = log_p_CV.gather(1, some_N[part, None])[:, 0]
            d_CV = log_p_CV.exp_().mul_(weights_N[part, None])
            d_CV.scatter_add_(1, some_N[part, None], -weights_N[part, None])
            torch.mm(d_CV, head.weight, out=gradient_NH[part])
            _grad(head.weight).addmm_(d_CV.T, hidden_NH[part])
            if head.bias is not None:
                _grad(head.bias).add_(d_CV.sum(0))
    return nats_N.neg_().masked_fill_(targets_N < 0, 0.0), gradient_NH


def linear_head(model: nn.Module) -> nn.Linear | None:
    """Return the layer whose output is the model's logits; None where more follows or precedes it.

    Found out once per model, by logits made so large that capping or scaling them would show.
    """
    if model not in _heads:
        _heads[model] = _find_head(model)
    return _heads[model]


def _find_head(model: Any) -> nn.Linear | None:
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    if not isinstance(head, nn.Linear):
        return None
    seen: dict[str, Tensor] = {}

    def enlarge(_: nn.Module, inputs: tuple[Tensor, ...], logits: Tensor) -> Tensor:
        seen.update(hidden=inputs[0], logits=LARGE * logits)
        return seen["logits"]

    tokens_BT = torch.arange(2, device=head.weight.device)[None]
    with torch.no_grad():
        hook = head.register_forward_hook(enlarge)
        try:
            seen["returned"] = model(input_ids=tokens_BT, use_cache=False).logits
        finally:
            hook.remove()
        hidden_BTH = model.base_model(input_ids=tokens_BT, use_cache=False).last_hidden_state
    plain = "hidden" in seen and torch.equal(seen["hidden"], hidden_BTH)
    return head if plain and torch.equal(seen["logits"].float(), seen["returned"].float()) else None


def _log_probabilities(h_NH: Tensor, head: nn.Linear) -> Iterator[tuple[slice, Tensor]]:
    """Yield positions and ln p of all words there, in one buffer that the caller may overwrite."""
    n_at_a_time = max(1, LOGITS_AT_A_TIME[h_NH.device.type] // len(head.weight))
    buffers_2CV = h_NH.new_empty(2, min(n_at_a_time, len(h_NH)), len(head.weight))
    for start in range(0, len(h_NH), n_at_a_time):
        part = slice(start, min(start + n_at_a_time, len(h_NH)))
        logits_CV, log_p_CV = buffers_2CV[:, : part.stop - part.start]
        torch.mm(h_NH[part], head.weight.T, out=logits_CV)
        if head.bias is not None:
            logits_CV.add_(head.bias)
        yield part, torch.log_softmax(logits_CV, dim=1, out=log_p_CV)


def _grad(parameter: Tensor) -> Tensor:
    """Return the parameter's gradient, zeros where it has none yet."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
