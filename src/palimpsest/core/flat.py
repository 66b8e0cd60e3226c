"""A model's parameters to one contiguous buffer, so that θ − ηu, norms and drift are one operation.

Every parameter and its gradient become views of the buffer: the model sees each change at once.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

import torch
from torch import Tensor, nn

from palimpsest.faults import Fault

# Weights at a time in double precision: 1 MB stays in a CPU's cache.
DOUBLES_AT_A_TIME = {"cpu": 2**16, "cuda": 2**22}


class Segment(NamedTuple):
    """Where a parameter lies: `layer` −1 is the embedding, L the head and the final norm."""

    name: str
    layer: int
    group: str
    start: int
    stop: int


class FlatWeights:
    """All parameters of a model, tied ones once, as the flat tensors `weights` and `grads`."""

    def __init__(self, model: nn.Module) -> None:
        named = list(model.named_parameters())
        dtypes = {parameter.dtype for _, parameter in named}
        if len(dtypes) != 1:
            raise Fault(f"the model mixes {sorted(map(str, dtypes))}; load it with one dtype")
        self.segments = segments(model)
        self.n_layers = 1 + max(_block(segment.name) for segment in self.segments)
        with torch.no_grad():
            self.weights = torch.cat([parameter.flatten() for _, parameter in named])
        self.grads = torch.zeros_like(self.weights)
        for (_, parameter), segment in zip(named, self.segments, strict=True):
            parameter.data = self.weights[segment.start : segment.stop].view_as(parameter)
            parameter.grad = self.grads[segment.start : segment.stop].view_as(parameter)

    def zero_grad(self) -> None:
        """Set every gradient to zero in place; the views stay."""
        self.grads.zero_()

    def step(self, u: Tensor, learning_rate: float) -> None:
        """Move the weights to θ − ηu."""
        self.weights.add_(u, alpha=-learning_rate)

    def share_rounded_away(self, u: Tensor, learning_rate: float) -> Tensor:
        """Return the share of the weights with u ≠ 0 for which θ − ηu == θ in their dtype."""
        moving = u != 0
        still = torch.add(self.weights, u, alpha=-learning_rate) == self.weights
        return (still & moving).sum().double() / moving.sum().clamp(min=1)

    def digest(self) -> str:
        """Return the sha256 of the weights' bytes."""
        return hashlib.sha256(self.weights.cpu().numpy().tobytes()).hexdigest()


def slope(gradient: Tensor, u: Tensor) -> Tensor:
    """Return dL/dη at θ, −∇L·u, in double precision without a double copy of either."""
    n_at_a_time = DOUBLES_AT_A_TIME[u.device.type]
    parts = zip(gradient.split(n_at_a_time), u.split(n_at_a_time), strict=True)
    return -torch.stack([left.double() @ right.double() for left, right in parts]).sum()


def segments(model: nn.Module) -> list[Segment]:
    """Return where each parameter lies in the flat buffer, in the model's own order."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    layers = [_block(name) for name, _ in model.named_parameters()]
    n_layers = max(layers) + 1
    found, start = [], 0
    for (name, parameter), block in zip(model.named_parameters(), layers, strict=True):
        layer, group = block, _group_in_block(name)
        if id(parameter) in tables:
            layer, group = -1, "embedding"
        elif block < 0:
            layer, group = n_layers, "norm" if "norm" in name or "ln_" in name else "head"
        found.append(Segment(name, layer, group, start, start + parameter.numel()))
        start += parameter.numel()
    return found


def _block(name: str) -> int:
    """Return the transformer block in a parameter's name (`h.3.`, `layers.3.`), −1 if none."""
    number = re.search(r"\.(\d+)\.", f".{name}")
    return int(number.group(1)) if number else -1


def _group_in_block(name: str) -> str:
    if "norm" in name or ".ln_" in name:
        return "norm"
    return "attention" if "attn" in name or "attention" in name else "mlp"
