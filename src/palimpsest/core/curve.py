"""A loss as a function of the rate, evaluated here and there, to a model of it in between.

Between evaluated rates the curve is modelled as L(η) = L(0) + η·y(η): the secant slope y passes
through the known slope at 0 and the nearest rates evaluated, as a polynomial in ln(1 + η/c),
because it bends over decades of η and is straight near 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

# On 96 curves of two small bases the five searches took 5 to 13 passes, 8.5 on average.
N_NODES = 5
BEND = 0.3
APART = 1.03  # two nodes closer than this show the rounding of the loss, not its shape
GRID = 400


class Curve:
    """Losses along one direction; a loss that is not finite counts as infinitely high."""

    def __init__(
        self,
        loss_at: Callable[[float], float],
        *,
        loss_nats: float,
        slope: float,
        highest: float,
    ) -> None:
        self.loss_nats = loss_nats
        self.slope = slope
        self.highest = highest
        self.losses: dict[float, float] = {}
        self._loss_at = loss_at

    def evaluate(self, rate: float) -> float:
        """Return the loss at `rate`, by one forward pass unless it is known."""
        if rate not in self.losses:
            loss_nats = float(self._loss_at(rate))
            self.losses[rate] = loss_nats if math.isfinite(loss_nats) else math.inf
        return self.losses[rate]

    def rates(self) -> list[float]:
        """Return the evaluated rates, rising."""
        return sorted(self.losses)

    def why_not_searchable(self) -> str:
        """Return why no search can start, or an empty line."""
        if not math.isfinite(self.loss_nats) or not math.isfinite(self.slope):
            return "the loss or its slope is not finite"
        return "" if self.slope < 0 else "the direction does not descend on the new data"


def find_crossing(
    curve: Curve, low: float, high: float, level_nats: float, *, falling: bool
) -> float | None:
    """Return where the model first passes the level; None beside a loss that is not finite."""
    if not falling and math.isinf(curve.losses.get(high, 0.0)):
        return None
    grid, losses = model(curve, low, high)
    beyond = losses <= level_nats if falling else losses > level_nats
    where = np.flatnonzero(beyond[1:] & ~beyond[:-1])
    if not len(where):
        return None
    left, right = where[0], where[0] + 1
    share = (level_nats - losses[left]) / (losses[right] - losses[left])
    return float(grid[left] * (grid[right] / grid[left]) ** share)


def minimiser(grid: np.ndarray, losses: np.ndarray) -> float:
    """Return the minimum of the parabola through the lowest grid point and its neighbours."""
    at = int(np.argmin(losses))
    if at in (0, len(grid) - 1):
        return float(grid[at])
    before, here, after = losses[at - 1 : at + 2]
    bend = before - 2 * here + after
    shift = 0.5 * (before - after) / bend if bend > 0 else 0.0
    return float(grid[at] * (grid[at] / grid[at - 1]) ** shift)


def model(curve: Curve, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a grid of rates from low to high and the modelled losses there."""
    grid = np.geomspace(low, high, GRID)
    middle = math.sqrt(low * high)
    finite = [rate for rate in curve.rates() if math.isfinite(curve.losses[rate])]
    nodes = _nodes(finite, middle)
    secants = np.array([(curve.losses[rate] - curve.loss_nats) / rate for rate in nodes])
    bend = _bend(curve, finite)
    x = np.log1p(np.array([0.0, *nodes]) / bend)
    y = _polynomial(x, np.array([curve.slope, *secants]), np.log1p(grid / bend))
    return grid, curve.loss_nats + grid * y


def _nodes(rates: list[float], middle: float) -> np.ndarray:
    """Return the rates nearest to the middle, by their ratio, and apart from each other."""
    nodes: list[float] = []
    for rate in sorted(rates, key=lambda rate: abs(math.log(rate / middle))):
        if all(max(rate / node, node / rate) > APART for node in nodes):
            nodes.append(rate)
    return np.array(nodes[:N_NODES])


def _bend(curve: Curve, finite: list[float]) -> float:
    """Return c, about where the secant slope has lost a third, by the lowest rate's loss."""
    if not finite:
        return curve.highest
    secant = (curve.losses[finite[0]] - curve.loss_nats) / finite[0]
    lost = 1 - secant / curve.slope
    return BEND * finite[0] / lost if lost > 0 else finite[-1]


def _polynomial(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Evaluate the polynomial through the points (x, y), by Newton's divided differences."""
    differences = y.copy()
    for order in range(1, len(x)):
        differences[order:] = (differences[order:] - differences[order - 1 : -1]) / (
            x[order:] - x[:-order]
        )
    values = np.full_like(at, differences[-1])
    for node, difference in zip(x[-2::-1], differences[-2::-1], strict=True):
        values = values * (at - node) + difference
    return values
