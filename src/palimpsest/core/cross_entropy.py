"""Hidden states and an output head → −ln p of each target, without the logits of a whole batch.

The head is applied to a few positions at a time, whose logits stay in the cache: for a small model
on a CPU that halves what logits first and losses then cost. Backward computes them once more.

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

    Differentiable in the hidden states and in the head's parameters.
    """
    nats_N: Tensor = _TargetNats.apply(hidden_NH, head.weight, head.bias, targets_N)
    return nats_N


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


class _TargetNats(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h_NH: Tensor, w_VH: Tensor, bias_V: Tensor | None, y_N: Tensor) -> Tensor:
        ctx.save_for_backward(h_NH, w_VH, bias_V, y_N)
        nats_N, some_N = h_NH.new_empty(len(y_N)), y_N.clamp(min=0)
        for part, logits_CV in _logits(h_NH, w_VH, bias_V):
            log_p_CV = torch.log_softmax(logits_CV, dim=1)
            nats_N[part] = -log_p_CV.gather(1, some_N[part, None])[:, 0]
        return nats_N.masked_fill_(y_N < 0, 0.0)

    @staticmethod
    def backward(ctx: Any, g_N: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        """Return the gradients by hidden states, weight and bias: softmax − one-hot times g."""
        h_NH, w_VH, bias_V, y_N = ctx.saved_tensors
        some_N, g_N = y_N.clamp(min=0), g_N.masked_fill(y_N < 0, 0.0)
        dh_NH, dw_VH = torch.empty_like(h_NH), torch.zeros_like(w_VH)
        db_V = None if bias_V is None else torch.zeros_like(bias_V)
        for part, logits_CV in _logits(h_NH, w_VH, bias_V):
            d_CV = torch.softmax(logits_CV, dim=1).mul_(g_N[part, None])
            d_CV.scatter_add_(1, some_N[part, None], -g_N[part, None])
            torch.mm(d_CV, w_VH, out=dh_NH[part])
            dw_VH.addmm_(d_CV.T, h_NH[part])
            if db_V is not None:
                db_V += d_CV.sum(0)
        return dh_NH, dw_VH, db_V, None


def _logits(h_NH: Tensor, w_VH: Tensor, bias_V: Tensor | None) -> Iterator[tuple[slice, Tensor]]:
    """Yield positions and their logits, all in one buffer, which the caller may overwrite."""
    n_at_a_time = max(1, LOGITS_AT_A_TIME[h_NH.device.type] // len(w_VH))
    buffer_CV = h_NH.new_empty(min(n_at_a_time, len(h_NH)), len(w_VH))
    for start in range(0, len(h_NH), n_at_a_time):
        part = slice(start, min(start + n_at_a_time, len(h_NH)))
        logits_CV = buffer_CV[: part.stop - part.start]
        torch.mm(h_NH[part], w_VH.T, out=logits_CV)
        yield part, logits_CV if bias_V is None else logits_CV.add_(bias_V)
