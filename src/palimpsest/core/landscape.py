"""A model state, a direction and packed rows to the losses along θ − ηu, forward passes only."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from palimpsest.core import search
from palimpsest.core.curve import Curve
from palimpsest.core.flat import FlatWeights
from palimpsest.core.losses import Packed, mean_loss
from palimpsest.core.search import Found

HIGHEST_RATE = 1e3  # above the edge of AdamW (1e-2) and of SGD (3); the stage gives its own range

DOT_CHUNK = 2**22


class Line:
    """The mean loss of some rows along θ − ηu; the weights are the same bits after each call.

    `loss_nats` is the loss at θ and `slope` dL/dη there (−∇L·u, below 0 where the step descends).
    `forward_passes` counts the passes so far; a rate is evaluated at most once.
    """

    def __init__(
        self,
        model: nn.Module,
        flat: FlatWeights,
        u: Tensor,
        packed: Sequence[Packed],
        *,
        loss_nats: float,
        gradient: Tensor,
        highest_rate: float = HIGHEST_RATE,
    ) -> None:
        self.loss_nats = loss_nats
        self.slope = -_dot(gradient, u)
        self._state = (model, flat, u)
        self._packed = packed
        self._curve = Curve(
            lambda rate: losses_at(model, flat, u, [packed], rate)[0],
            loss_nats=loss_nats,
            slope=self.slope,
            highest=highest_rate,
        )

    @property
    def forward_passes(self) -> int:
        """Return how many rates were evaluated."""
        return len(self._curve.losses)

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
        return flat.share_rounded_away(u, learning_rate)


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


def _dot(a: Tensor, b: Tensor) -> float:
    """Return a·b summed in double precision, without a double copy of either."""
    chunks = zip(a.split(DOT_CHUNK), b.split(DOT_CHUNK), strict=True)
    return sum(float(left.double() @ right.double()) for left, right in chunks)
