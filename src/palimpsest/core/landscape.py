"""A model state, a direction and packed rows to the losses along θ − ηu, forward passes only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from torch import Tensor, nn

from palimpsest.core import search
from palimpsest.core.curve import Curve
from palimpsest.core.flat import FlatWeights
from palimpsest.core.losses import Packed, mean_loss
from palimpsest.core.search import Found

HIGHEST_RATE = 1e3  # above the edge of AdamW (1e-2) and of SGD (3); the stage gives its own range


class Line:
    """The mean loss of some rows along θ − ηu; the weights are the same bits after each call.

    `loss_nats` is the loss at θ (None: measured when somebody asks) and `slope` dL/dη there, below
    0 where the step descends. `forward_passes` counts the rates evaluated, each at most once.
    """

    def __init__(
        self,
        model: nn.Module,
        flat: FlatWeights,
        u: Tensor,
        packed: Sequence[Packed],
        *,
        loss_nats: float | None,
        slope: float,
        highest_rate: float = HIGHEST_RATE,
    ) -> None:
        self.slope = slope
        self._known_nats = loss_nats
        self._highest_rate = highest_rate
        self._state = (model, flat, u)
        self._packed = packed

    @cached_property
    def loss_nats(self) -> float:
        """The mean loss at θ."""
        if self._known_nats is not None:
            return self._known_nats
        return mean_loss(self._state[0], self._packed)

    @cached_property
    def _curve(self) -> Curve:
        """The losses along u, begun when somebody looks."""
        return Curve(
            lambda rate: self.others(rate, [self._packed])[0],
            loss_nats=self.loss_nats,
            slope=self.slope,
            highest=self._highest_rate,
        )

    @property
    def forward_passes(self) -> int:
        """Return how many rates were evaluated."""
        return len(self._curve.losses) if "_curve" in vars(self) else 0

    def at(self, learning_rate: float) -> float:
        """Return the loss at θ − ηu; infinite where it is not a number."""
        return self._curve.evaluate(learning_rate)

    def target(
        self,
        decrease: float,
        *,
        start: float | None = None,
        reference_loss: float | None = None,
        band: float = 0.0,
    ) -> Found:
        """Return the smallest rate that lowers the loss by the share `decrease`, to 1 %.

        The share is of the loss here, or of `reference_loss` (`of: initial`). A negative decrease
        asks for the smallest rate beyond the edge that raises the loss by its size. With a band,
        a rate whose decrease is within ± band of the asked one, relative, will do.
        """
        amount = decrease * (self.loss_nats if reference_loss is None else reference_loss)
        level = self.loss_nats - amount
        if decrease < 0:
            return search.first_above(self._curve, level, start=start)
        tolerance = max(search.TOLERANCE, band / 2)
        return search.first_below(
            self._curve, level, start=start, band_nats=band * amount, tolerance=tolerance
        )

    def best(self, *, start: float | None = None, tolerance: float = search.TOLERANCE) -> Found:
        """Return the rate of the lowest loss, within `tolerance`."""
        return search.lowest(self._curve, start=start, tolerance=tolerance)

    def edge(self, *, start: float | None = None) -> Found:
        """Return the smallest rate at which the step raises the loss, to 1 %."""
        return search.first_above(self._curve, self.loss_nats, start=start)

    def others(self, learning_rate: float, parts: Sequence[Sequence[Packed]]) -> list[float]:
        """Return the mean losses of other rows at θ − ηu, one per part; not kept."""
        return losses_at(*self._state, parts, learning_rate)

    def share_rounded_away(self, learning_rate: float) -> float:
        """Return the share of weights that were to move and whose update vanishes at this rate."""
        _, flat, u = self._state
        return float(flat.share_rounded_away(u, learning_rate))


def losses_at(
    model: nn.Module,
    flat: FlatWeights,
    u: Tensor,
    parts: Sequence[Sequence[Packed]],
    learning_rate: float,
) -> list[float]:
    """Return the mean loss in nats of each part at θ − ηu, and restore θ bit-exactly."""
    before = flat.weights.clone()
    try:
        flat.step(u, learning_rate)
        return [mean_loss(model, part) for part in parts]
    finally:
        flat.weights.copy_(before)
