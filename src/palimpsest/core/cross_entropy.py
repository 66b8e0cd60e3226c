"""Hidden states and an output head → −ln p of each target, without the logits of a whole batch.

The head is applied to a few positions at a time, whose logits stay in the cache: for a small model
on a CPU that halves what logits first and losses then cost. Where gradients are asked for they are
taken from the same logits at once, so that nothing is computed twice and nothing is kept.

The head multiplies in the dtype of the hidden states, as autocast would have it: its logits, the
gradient by them and both products of that gradient are rounded to it. Softmax and losses are in the
dtype of the head's own weights, and so is the gradient that is added to these.

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
    nats_N, some_N = head.weight.new_empty(len(targets_N)), targets_N.clamp(min=0)
    with torch.no_grad():
        for part, log_p_CV in _log_probabilities(hidden_NH, head, head.weight.to(hidden_NH.dtype)):
            nats_N[part] = log_p_CV.gather(1, some_N[part, None])[:, 0]
    return nats_N.neg_().masked_fill_(targets_N < 0, 0.0)


def sum_backward(
    hidden_NH: Tensor, head: nn.Linear, targets_N: Tensor, *, scale: float
) -> tuple[Tensor, Tensor]:
    """Return what `target_nats` does, and ∇(scale · their sum) by the hidden states.

    The gradient by the head's parameters is added to their `grad`. Per logit it is softmax − 1 at
    the target, softmax elsewhere.
    """
    nats_N, some_N = head.weight.new_empty(len(targets_N)), targets_N.clamp(min=0)
    weights_N = (targets_N >= 0).to(nats_N.dtype).mul_(scale)
    gradient_NH, weight_VH = torch.empty_like(hidden_NH), head.weight.to(hidden_NH.dtype)
    with torch.no_grad():
        for part, log_p_CV in _log_probabilities(hidden_NH, head, weight_VH):
            nats_N[part] = log_p_CV.gather(1, some_N[part, None])[:, 0]
            d_CV = _by_logits(log_p_CV, some_N[part], weights_N[part], hidden_NH.dtype)
            torch.mm(d_CV, weight_VH, out=gradient_NH[part])
            _add_product(_grad(head.weight), d_CV.T, hidden_NH[part])
            if head.bias is not None:
                _grad(head.bias).add_(d_CV.sum(0, dtype=head.bias.dtype))
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


def _log_probabilities(
    h_NH: Tensor, head: nn.Linear, weight_VH: Tensor
) -> Iterator[tuple[slice, Tensor]]:
    """Yield positions and ln p of all words there, in one buffer that the caller may overwrite.

    weight_VH: the head's, in the dtype of the hidden states.
    """
    bias_V = None if head.bias is None else head.bias.to(h_NH.dtype)
    n_at_a_time = max(1, LOGITS_AT_A_TIME[h_NH.device.type] // len(weight_VH))
    shape = (min(n_at_a_time, len(h_NH)), len(weight_VH))
    some_logits_CV, some_log_p_CV = h_NH.new_empty(shape), head.weight.new_empty(shape)
    for start in range(0, len(h_NH), n_at_a_time):
        part = slice(start, min(start + n_at_a_time, len(h_NH)))
        n_positions = part.stop - part.start
        logits_CV, log_p_CV = some_logits_CV[:n_positions], some_log_p_CV[:n_positions]
        torch.mm(h_NH[part], weight_VH.T, out=logits_CV)
        if bias_V is not None:
            logits_CV.add_(bias_V)
        yield part, torch.log_softmax(logits_CV, dim=1, dtype=log_p_CV.dtype, out=log_p_CV)


def _by_logits(
    log_p_CV: Tensor, targets_C: Tensor, weights_C: Tensor, dtype: torch.dtype
) -> Tensor:
    """Return ∇(Σ weight · −ln p of the target) by the logits, rounded once; overwrites ln p."""
    weights_C1, targets_C1 = weights_C[:, None], targets_C[:, None]
    if dtype == log_p_CV.dtype:
        d_CV = log_p_CV.exp_().mul_(weights_C1)
        return d_CV.scatter_add_(1, targets_C1, -weights_C1)
    # Rounded first, a p near 1 would leave nothing of p − 1.
    at_target_C1 = log_p_CV.gather(1, targets_C1).expm1_().mul_(weights_C1)
    d_CV = torch.empty_like(log_p_CV, dtype=dtype)
    torch.mul(log_p_CV.exp_(), weights_C1, out=d_CV)
    return d_CV.scatter_(1, targets_C1, at_target_C1.to(dtype))


def _add_product(sum_VH: Tensor, left_VC: Tensor, right_CH: Tensor) -> None:
    """Add a product of matrices to a sum, which may be of a finer dtype than they are."""
    if left_VC.dtype == sum_VH.dtype:
        sum_VH.addmm_(left_VC, right_CH)
    else:
        sum_VH.add_(torch.mm(left_VC, right_CH))


def _grad(parameter: Tensor) -> Tensor:
    """Return the parameter's gradient, zeros where it has none yet."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
