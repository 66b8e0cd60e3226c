"""Logits and targets → nats per target, for training: the gradient costs no second softmax.

torch's own backward pass of log-softmax takes a third of a step of the smallest embedded base on a
CPU, because it exponentiates again. Here the forward pass keeps the probabilities and the backward
pass turns them into the gradient in place. Shapes: N targets, V vocabulary.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor


def cross_entropy_nats(logits_NV: Tensor, targets_N: Tensor, *, ignore_index: int) -> Tensor:
    """Return −ln p(target) per target, 0 where the target is `ignore_index`."""
    nats_N = _CrossEntropy.apply(logits_NV, targets_N, ignore_index)
    return cast(Tensor, nats_N)


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, targets_N: Tensor, ignore_index: int) -> Tensor:
        ignored_N = targets_N == ignore_index
        index_N1 = targets_N.masked_fill(ignored_N, 0).unsqueeze(1)
        p_NV = torch.softmax(logits_NV, dim=1)
        # ln Σ e^x from the likeliest token, whose probability is at least 1/V: never ln 0.
        top_N1, p_top_N1 = logits_NV.amax(dim=1, keepdim=True), p_NV.amax(dim=1, keepdim=True)
        nats_N1 = top_N1 - p_top_N1.log() - logits_NV.gather(1, index_N1)
        ctx.save_for_backward(p_NV, index_N1, ignored_N)
        return nats_N1.squeeze(1).masked_fill(ignored_N, 0.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        p_NV, index_N1, ignored_N = ctx.saved_tensors
        scale_N1 = gradients[0].masked_fill(ignored_N, 0.0).unsqueeze(1)
        # d nats / d logits = p − 1[target]. The probabilities are not used again.
        p_NV.scatter_add_(1, index_N1, p_NV.new_full((1, 1), -1.0).expand_as(index_N1))
        return p_NV.mul_(scale_N1), None, None
