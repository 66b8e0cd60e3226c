"""A loss as a function of the rate, and its slope at 0, to the rates that the study asks for.

Free of torch: what is searched is any function rate → loss. Every loss is kept, so that the
searches on one `Curve` share their forward passes. Between evaluated rates the curve is modelled as
L(η) = L(0) + η·y(η): the secant slope y passes through the known slope at 0 and the nearest rates
evaluated, as a polynomial in ln(1 + η/c), because it bends over decades of η, straight near 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

TOLERANCE = 0.01  # relative, of a rate
MARGIN = 0.8  # share of the tolerance that is used up; the rest is the model's error
AIM = 0.4  # share of the tolerance by which a search aims beyond a crossing, to bracket it
GROWTH = 4.0  # a search climbs by at most this factor, so that it does not jump over a crossing
DESCENT = 1e-3  # a search looks this far below its lowest rate
FIRST_DECREASE = 0.02  # where best and edge start, as a share of the loss: far below both
# On 44 curves of small models 5 nodes and 0.3 took 7 to 13 passes for five searches; 3 nodes 16.
N_NODES = 5
BEND = 0.3
APART = 1.03  # two nodes closer than this show the rounding of the loss, not its shape
GRID = 400
MAX_FORWARD = 60  # of one search; bisection down to a NaN from any start needs about 20


class Found(NamedTuple):
    """A rate (None: there is none, `reason` says why), the loss there, the passes it took.

    Where a decrease is out of reach, `loss_nats` is the lowest loss seen.
    """

    learning_rate: float | None
    loss_nats: float
    n_forward: int
    reason: str = ""


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


def first_below(
    curve: Curve,
    level_nats: float,
    *,
    start: float | None = None,
    band_nats: float = 0.0,
    tolerance: float = TOLERANCE,
) -> Found:
    """Return the smallest rate whose loss is at most `level_nats`, within `tolerance`.

    With a band the first rate tried on the falling branch within ± band_nats of the level will do.
    """
    look = partial(_look_below, level_nats=level_nats, band_nats=band_nats, tolerance=tolerance)
    return _search(curve, look, start or _straight(curve, curve.loss_nats - level_nats))


def first_above(curve: Curve, level_nats: float, *, start: float | None = None) -> Found:
    """Return the smallest rate whose loss exceeds `level_nats` ≥ the loss at 0, to 1 %."""
    return _search(curve, partial(_look_above, level_nats=level_nats), start or _straight(curve))


def lowest(curve: Curve, *, start: float | None = None, tolerance: float = TOLERANCE) -> Found:
    """Return the rate of the lowest loss, within `tolerance`."""
    return _search(curve, partial(_look_lowest, tolerance=tolerance), start or _straight(curve))


class _Look(NamedTuple):
    """What a look at the evaluated rates says: try `rate`, or, when done, it is the answer."""

    rate: float | None
    done: bool
    reason: str = ""


def _search(curve: Curve, look: Callable[[Curve], _Look], start: float | None) -> Found:
    """Evaluate one rate after another until the look is done."""
    reason = curve.why_not_searchable()
    if reason:
        return Found(None, math.nan, 0, reason)
    n_before = len(curve.losses)
    if start is not None:
        curve.evaluate(min(start, curve.highest))
    for _ in range(MAX_FORWARD):
        seen = look(curve)
        if seen.done:
            break
        curve.evaluate(seen.rate or curve.highest)
    n_forward = len(curve.losses) - n_before
    if not seen.done:
        return Found(None, math.nan, n_forward, f"not settled after {n_forward} forward passes")
    if seen.rate is None:
        return Found(None, min(curve.losses.values()), n_forward, seen.reason)
    return Found(seen.rate, curve.losses[seen.rate], n_forward, seen.reason)


def _straight(curve: Curve, fall_nats: float | None = None) -> float | None:
    """Return where the slope alone leads to a fall, as a first rate; None when one is known."""
    if curve.losses or curve.slope >= 0:
        return None
    return (fall_nats or FIRST_DECREASE * curve.loss_nats) / -curve.slope


def _look_below(curve: Curve, *, level_nats: float, band_nats: float, tolerance: float) -> _Look:
    rates = curve.rates()
    for rate in rates:
        near = abs(curve.losses[rate] - level_nats) <= band_nats
        if band_nats and near and _still_falling(curve, rate):
            return _Look(rate, done=True)
    hits = [rate for rate in rates if curve.losses[rate] <= level_nats]
    aim = 0.0 if band_nats else AIM
    if hits:
        return _look_between(curve, hits[0], level_nats, falling=True, aim=aim)
    crossing = _crossing(curve, *_around_lowest(curve), level_nats, falling=True)
    if crossing is not None and crossing not in curve.losses:
        return _Look(min(crossing * (1 + aim * TOLERANCE), curve.highest), done=False)
    seen = _look_lowest(curve, tolerance=tolerance)
    if not seen.done or seen.rate is None:
        return seen
    share = 1 - curve.losses[seen.rate] / curve.loss_nats
    return _Look(None, done=True, reason=f"the largest decrease is {share:.4g}")


def _look_above(curve: Curve, *, level_nats: float) -> _Look:
    rates = curve.rates()
    hits = [rate for rate in rates if curve.losses[rate] > level_nats]
    if hits:
        return _look_between(curve, hits[0], level_nats, falling=False, aim=AIM)
    if rates[-1] >= curve.highest:
        return _Look(None, done=True, reason=f"not up to the highest rate {curve.highest:g}")
    high = min(rates[-1] * GROWTH, curve.highest)
    crossing = _crossing(curve, rates[-1], high, level_nats, falling=False)
    return _Look(min(high, (crossing or high) * (1 + AIM * TOLERANCE)), done=False)


def _look_lowest(curve: Curve, *, tolerance: float) -> _Look:
    low, high = _around_lowest(curve)
    at = min(curve.losses, key=lambda rate: curve.losses[rate])
    rate = _minimiser(*_model(curve, low, high))
    if at >= curve.highest and rate >= at:
        return _Look(at, done=True, reason="still falling at the highest rate")
    if abs(rate / at - 1) <= tolerance / 2 or high <= low * (1 + tolerance):
        return _Look(at, done=True)
    if math.isinf(curve.losses.get(high, 0.0)) and rate * (1 + tolerance) > high:
        rate = math.sqrt(at * high)
    return _Look(rate, done=False)


def _around_lowest(curve: Curve) -> tuple[float, float]:
    """Return the rates beside the one of the lowest loss; where there is none, how far to look."""
    rates = curve.rates()
    at = min(range(len(rates)), key=lambda index: curve.losses[rates[index]])
    low = rates[at - 1] if at else rates[0] * DESCENT
    return low, rates[at + 1] if at + 1 < len(rates) else min(rates[at] * GROWTH, curve.highest)


def _look_between(
    curve: Curve, high: float, level_nats: float, *, falling: bool, aim: float
) -> _Look:
    """Look for the crossing below `high`, the smallest evaluated rate beyond it."""
    before = [rate for rate in curve.rates() if rate < high]
    low = before[-1] if before else high * DESCENT
    crossing = _crossing(curve, low, high, level_nats, falling=falling)
    crossing = crossing or math.sqrt(low * high)
    if high <= max(crossing, low) * (1 + MARGIN * TOLERANCE):
        return _Look(high, done=True)
    # Beside a known point a step of half the tolerance brackets the crossing.
    rate = max(crossing * (1 + aim * TOLERANCE), low * (1 + TOLERANCE / 2))
    return _Look(min(rate, high / (1 + TOLERANCE / 2)), done=False)


def _still_falling(curve: Curve, rate: float) -> bool:
    """Say whether the model's minimum up to `rate` is at its end, not far before it."""
    grid, losses = _model(curve, rate * DESCENT, rate)
    return bool(grid[np.argmin(losses)] * 1.1 >= rate)


def _crossing(
    curve: Curve, low: float, high: float, level_nats: float, *, falling: bool
) -> float | None:
    """Return where the model first passes the level; None beside a loss that is not finite."""
    if not falling and math.isinf(curve.losses.get(high, 0.0)):
        return None
    grid, losses = _model(curve, low, high)
    beyond = losses <= level_nats if falling else losses > level_nats
    where = np.flatnonzero(beyond[1:] & ~beyond[:-1])
    if not len(where):
        return None
    left, right = where[0], where[0] + 1
    share = (level_nats - losses[left]) / (losses[right] - losses[left])
    return float(grid[left] * (grid[right] / grid[left]) ** share)


def _minimiser(grid: np.ndarray, losses: np.ndarray) -> float:
    """Return the minimum of the parabola through the lowest grid point and its neighbours."""
    at = int(np.argmin(losses))
    if at in (0, len(grid) - 1):
        return float(grid[at])
    before, here, after = losses[at - 1 : at + 2]
    shift = 0.5 * (before - after) / (before - 2 * here + after)
    return float(grid[at] * (grid[at] / grid[at - 1]) ** shift)


def _model(curve: Curve, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
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
