"""Gradients to the optimiser's own direction u: the step of learning rate η is θ − ηu.

u holds clipping, moments, decoupled decay and the tilt over layers, so that
the loss along u at η is the loss after a real step of torch.optim.AdamW or SGD with that rate.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from palimpsest.core.flat import FlatWeights
from palimpsest.faults import Fault


class Update:
    """The optimiser of a phase without its learning rate.

    `settings`: kind "adamw" (beta1, beta2, epsilon) or "sgd" (beta1 is its momentum), and for both
    weight_decay, clip_norm (None: no clipping) and layer_slope.
    """

    def __init__(self, flat: FlatWeights, settings: dict[str, Any]) -> None:
        if settings["kind"] not in ("adamw", "sgd"):
            raise Fault(f"optimizer.kind: {settings['kind']!r}; take adamw or sgd")
        self.flat = flat
        self.settings = settings
        self.n_updates = 0
        self.fused = flat.weights.device.type == "cuda"
        self.grad_norm = flat.weights.new_tensor(float("nan"))
        self.first_moment = torch.zeros_like(flat.weights)
        self.second_moment = torch.zeros_like(flat.weights)
        self._tilt = _layer_tilt(flat, settings["layer_slope"])

    def direction(self) -> Tensor:
        """Advance the moments with the present gradient and return u, flat, new memory.

        `flat.grads` is left clipped; `grad_norm` is the norm before clipping.
        """
        self._clip()
        self.n_updates += 1
        adaptive = self.settings["kind"] == "adamw"
        advance = self._fused_adamw if self.fused else self._adamw
        u = advance() if adaptive else self._sgd()
        return u if self._tilt is None else u.mul_(self._tilt)

    def scale(self) -> Tensor | float:
        """Return s, per weight: under a gradient g that stays, a step of rate η is η·g/s long."""
        if self.settings["kind"] != "adamw":
            without_momentum = 1 - self.settings["beta1"]
            return without_momentum if self._tilt is None else without_momentum / self._tilt
        variance = self.second_moment / (1 - self.settings["beta2"] ** self.n_updates)
        scale = variance.sqrt_().add_(self.settings["epsilon"])
        return scale if self._tilt is None else scale.div_(self._tilt)

    def state(self) -> dict[str, Tensor]:
        """Return what a following phase or a resumed one needs to go on bit-exactly."""
        return {
            "first_moment": self.first_moment.clone(),
            "second_moment": self.second_moment.clone(),
            "n_updates": torch.tensor(self.n_updates),
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Take over the moments of `state`."""
        self.first_moment.copy_(state["first_moment"])
        self.second_moment.copy_(state["second_moment"])
        self.n_updates = int(state["n_updates"])

    def _clip(self) -> None:
        """Scale the gradient to at most `clip_norm`, by the formula of torch's clip_grad_norm_."""
        self.grad_norm = torch.linalg.vector_norm(self.flat.grads)
        clip_norm = self.settings["clip_norm"]
        if clip_norm is not None:
            self.flat.grads.mul_((clip_norm / (self.grad_norm + 1e-6)).clamp_(max=1.0))

    def _adamw(self) -> Tensor:
        """Loshchilov & Hutter 1711.05101, in the order of operations of torch.optim.AdamW."""
        beta1, beta2 = self.settings["beta1"], self.settings["beta2"]
        g = self.flat.grads
        self.first_moment.lerp_(g, 1 - beta1)
        self.second_moment.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        u = self.second_moment.sqrt().div_((1 - beta2**self.n_updates) ** 0.5)
        torch.div(self.first_moment, u.add_(self.settings["epsilon"]), out=u)
        u.div_(1 - beta1**self.n_updates)
        return u.add_(self.flat.weights, alpha=self.settings["weight_decay"])

    def _fused_adamw(self) -> Tensor:
        """Return what `_adamw` does, by torch's one kernel: from 0, a step of rate −1 ends at u."""
        u = torch.zeros_like(self.flat.weights)
        adamw(
            [u],
            [self.flat.grads],
            [self.first_moment],
            [self.second_moment],
            [],
            [torch.full((), self.n_updates - 1.0, device=u.device)],
            fused=True,
            amsgrad=False,
            maximize=False,
            beta1=self.settings["beta1"],
            beta2=self.settings["beta2"],
            eps=self.settings["epsilon"],
            lr=-1.0,
            weight_decay=0.0,  # of 0; the weights' own follows
        )
        decay = self.settings["weight_decay"]
        return u.add_(self.flat.weights, alpha=decay) if decay else u

    def _sgd(self) -> Tensor:
        """torch.optim.SGD with momentum: its decay is part of the gradient, before the momentum."""
        g = self.flat.grads.add(self.flat.weights, alpha=self.settings["weight_decay"])
        self.first_moment.mul_(self.settings["beta1"]).add_(g)
        return self.first_moment.clone()


def _layer_tilt(flat: FlatWeights, layer_slope: float) -> Tensor | None:
    """Return each weight's factor on the rate, linear over the L blocks with mean 1.

    The first block takes 1 − slope/2, the last 1 + slope/2; the embedding goes with the first,
    head and final norm with the last.
    """
    if not -2 <= layer_slope <= 2:
        raise Fault(f"optimizer.layer_slope: {layer_slope}; take −2 … 2, no layer may climb")
    if layer_slope == 0 or flat.n_layers < 2:
        return None
    tilt = torch.empty_like(flat.weights)
    for segment in flat.segments:
        block = min(max(segment.layer, 0), flat.n_layers - 1)
        tilt[segment.start : segment.stop] = 1 + layer_slope * (block / (flat.n_layers - 1) - 0.5)
    return tilt
