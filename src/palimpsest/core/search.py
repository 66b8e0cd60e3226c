"""A loss as a function of the rate, and its slope at 0, to the rates that the study asks for.

Free of torch: what is searched is any function rate → loss. Every loss is kept, so that the
searches on one `Curve` share their forward passes. A search alternates between a look at what is
known, which says where the model of the curve puts the answer, and a forward pass there. It stays
in the first basin: a second minimum far beyond the edge is the landscape's to show.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from palimpsest.core.curve import APART, Curve, find_crossing, minimiser, model

TOLERANCE = 0.01  # relative, of a rate
MARGIN = 0.8  # share of the tolerance that is used up; the rest is the model's error
CHORD = 3.0  # a curve may be this much steeper at a crossing than the chord to it
AIM = 0.4  # share of the tolerance by which a search aims beyond a crossing, to bracket it
GROWTH = 4.0  # a search climbs by at most this factor, so that it does not jump over a crossing
DESCENT = 1e-3  # a search looks this far below its lowest rate
NEIGHBOUR = 8.0  # tolerances between the minimum and a rate that confirms it
FIRST_DECREASE = 0.02  # where best and edge start, as a share of the loss: far below both
MAX_FORWARD = 60  # of one search; bisection down to a NaN from any start needs about 20


class Found(NamedTuple):
    """A rate (None: there is none, `reason` says why), the loss there, the passes it took.

    Where a decrease is out of reach, `loss_nats` is the lowest loss seen.
    """

    learning_rate: float | None
    loss_nats: float
    n_forward: int
    reason: str = ""


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
    crossing = find_crossing(curve, *_around_lowest(curve), level_nats, falling=True)
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
    crossing = find_crossing(curve, rates[-1], high, level_nats, falling=False)
    return _Look(min(high, (crossing or high) * (1 + AIM * TOLERANCE)), done=False)


def _look_lowest(curve: Curve, *, tolerance: float) -> _Look:
    low, high = _around_lowest(curve)
    at = min(curve.losses, key=lambda rate: curve.losses[rate])
    rate = minimiser(*model(curve, low, high))
    if at >= curve.highest and rate >= at:
        return _Look(at, done=True, reason="still falling at the highest rate")
    if high <= low * (1 + tolerance):
        return _Look(at, done=True)
    off, reach = abs(rate / at - 1), 1 + NEIGHBOUR * tolerance
    if off <= MARGIN * tolerance and _has_neighbour(curve, at, reach**1.5):
        return _Look(at, done=True)
    if off <= tolerance / 2:
        return _Look(at / reach, done=False)  # far rates alone may misplace the minimum
    for end in (low, high):
        if end in curve.losses and abs(rate / end - 1) <= tolerance / 2:
            rate = math.sqrt(at * end)
    return _Look(rate, done=False)


def _has_neighbour(curve: Curve, at: float, reach: float) -> bool:
    """Say whether a rate beside this one was tried, within a factor of it but apart from it."""
    return any(APART < max(rate / at, at / rate) <= reach for rate in curve.losses)


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
    crossing = find_crossing(curve, low, high, level_nats, falling=falling)
    middle = math.sqrt(low * high)
    if crossing is None or _crowded(curve, crossing):
        crossing = middle
    elif high <= crossing * (1 + MARGIN * TOLERANCE) and _by_chord(curve, low, high, level_nats):
        return _Look(high, done=True)
    if high <= low * (1 + MARGIN * TOLERANCE):
        return _Look(high, done=True)
    # Beside a known point a step of half the tolerance brackets the crossing.
    rate = max(crossing * (1 + aim * TOLERANCE), low * (1 + TOLERANCE / 2))
    return _Look(min(rate, high / (1 + TOLERANCE / 2)), done=False)


def _by_chord(curve: Curve, low: float, high: float, level_nats: float) -> bool:
    """Say whether the straight line from low puts the crossing beside high as well.

    The model alone may swing between far rates.
    """
    drop = curve.losses.get(low, curve.loss_nats) - curve.losses[high]
    if drop == 0 or not math.isfinite(drop):
        return False
    share = (level_nats - curve.losses[high]) / drop
    return abs(share) * math.log(high / low) <= CHORD * TOLERANCE


def _crowded(curve: Curve, rate: float) -> bool:
    """Say whether so many rates around this one were tried that the model must be wrong."""
    return sum(abs(math.log(rate / tried)) < 2 * TOLERANCE for tried in curve.losses) >= 3


def _still_falling(curve: Curve, rate: float) -> bool:
    """Say whether the model's minimum up to `rate` is at its end, not far before it."""
    grid, losses = model(curve, rate * DESCENT, rate)
    return bool(grid[np.argmin(losses)] * 1.1 >= rate)
