"""Turns (learning, forgetting) of many settings into a front, and curves over replay into a ratio.

Learning is better when larger, loss (forgetting, collapse) when smaller; both in nats or as
fractions. m points, R bootstrap draws.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
FEWEST_CHECKPOINTS = 3  # beyond θ₀: between θ₀ and an end alone there is only a straight guess


def members(learning: Array, loss: Array) -> Array:
    """Mark (m,) the points that no other one beats.

    One point beats another if it is at least as good in both and better in one; equal points do
    not beat each other. A point without both numbers is no member and beats nobody.
    """
    known = np.isfinite(learning) & np.isfinite(loss)
    marked = np.zeros(len(learning), dtype=bool)
    order = np.flatnonzero(known)
    order = order[np.lexsort((loss[order], -learning[order]))]
    lowest, lowest_at = np.inf, np.inf
    for point in order:
        equal = loss[point] == lowest and learning[point] == lowest_at
        if loss[point] < lowest or equal:
            marked[point] = True
            lowest, lowest_at = loss[point], learning[point]
    return marked


def knee(learning: Array, loss: Array) -> int | None:
    """Return which point of the front lies farthest beyond the chord between the front's ends.

    Scaling an axis scales the distance of every point from the chord alike, so that the knee is
    the same on any scale. None for a front of less than three members, and where no member lies
    beyond the chord.
    """
    front = np.flatnonzero(members(learning, loss))
    front = front[np.argsort(learning[front], kind="stable")]
    if len(front) < 3:
        return None
    across, up = learning[front] - learning[front[0]], loss[front] - loss[front[0]]
    beyond = across * up[-1] - up * across[-1]
    best = int(np.argmax(beyond))
    return int(front[best]) if beyond[best] > 0 else None


def spread(values: Array) -> float:
    """Return the range of the finite values, 1 where it is zero or there are none."""
    finite = values[np.isfinite(values)]
    return (float(np.ptp(finite)) if len(finite) else 0.0) or 1.0


def hypervolume(learning: Array, loss: Array, *, reference: tuple[float, float]) -> float:
    """Return the area between the front and a reference point (learning, loss) worse than all.

    Points worse than the reference in either direction add nothing.
    """
    inside = members(learning, loss) & (learning > reference[0]) & (loss < reference[1])
    order = np.flatnonzero(inside)
    order = order[np.argsort(-learning[order], kind="stable")]
    area, ceiling = 0.0, reference[1]
    for point in order:
        area += (learning[point] - reference[0]) * max(ceiling - loss[point], 0.0)
        ceiling = min(ceiling, float(loss[point]))
    return float(area)


def membership_probability(learning_Rm: Array, loss_Rm: Array) -> Array:
    """Return in which share of the draws each point (m,) is a member of the front."""
    pairs = zip(learning_Rm, loss_Rm, strict=True)
    return np.mean([members(learning, loss) for learning, loss in pairs], axis=0)


def knee_probability(learning_Rm: Array, loss_Rm: Array) -> Array:
    """Return in which share of the draws each point (m,) is the knee; the rest have none."""
    found = [knee(*pair) for pair in zip(learning_Rm, loss_Rm, strict=True)]
    places = np.array([place for place in found if place is not None], dtype=int)
    return np.bincount(places, minlength=learning_Rm.shape[1]) / len(learning_Rm)


def at_equal_learning(
    curves: list[tuple[Array, Array]], *, n_values: int = 5
) -> tuple[Array, Array]:
    """Interpolate loss along runs at common learning values: (n_values,), (n_runs, n_values).

    A curve is (learning, loss) along one run; its first crossing of a value counts. The values
    span what all runs reach; without a common range both results are empty.
    """
    highest = min((float(np.nanmax(learning)) for learning, _ in curves), default=0.0)
    lowest = max((float(learning[0]) for learning, _ in curves), default=0.0)
    if not highest > lowest:
        return np.empty(0), np.empty((len(curves), 0))
    values = np.linspace(lowest, highest, n_values + 1)[1:]
    return values, np.array([first_crossings(*curve, values=values) for curve in curves])


def first_crossings(learning: Array, loss: Array, *, values: Array) -> Array:
    """Return the loss where a run's learning first reaches each value."""
    best_so_far = np.maximum.accumulate(learning)
    found = np.empty(len(values))
    for k, value in enumerate(values):
        after = int(np.argmax(best_so_far >= value - 1e-12))
        if after == 0:
            found[k] = loss[0]
            continue
        step = learning[after] - learning[after - 1]
        share = np.clip((value - learning[after - 1]) / step, 0.0, 1.0) if step > 0 else 1.0
        found[k] = loss[after - 1] + share * (loss[after] - loss[after - 1])
    return found


def critical_ratio(ratios: Array, loss_Rg: Array, *, tolerance: float) -> Array:
    """Return per draw (R,) the smallest ratio at which, and beyond which, loss stays in tolerance.

    `ratios` is an ascending grid (g,). 0 says that no replay is needed, infinity that no ratio of
    the grid suffices. Between grid points the crossing is interpolated.
    """
    exceeds = ~(loss_Rg <= tolerance)  # a loss that is not finite is no loss within tolerance
    last = np.where(exceeds.any(axis=1), len(ratios) - 1 - np.argmax(exceeds[:, ::-1], axis=1), -1)
    found = np.full(len(loss_Rg), np.inf)
    found[last == -1] = ratios[0]
    between = np.flatnonzero((last >= 0) & (last < len(ratios) - 1))
    left = last[between]
    above, below = loss_Rg[between, left], loss_Rg[between, left + 1]
    share = (above - tolerance) / (above - below)
    found[between] = ratios[left] + share * (ratios[left + 1] - ratios[left])
    return found


def critical_answer(
    draws_R: Array, *, best: float, confidence: float
) -> dict[str, str | float | None]:
    """Return value, interval and answer: "none needed", "ratio", "none" or "not decidable".

    An end of the interval beyond the largest ratio tried is None; if only the upper one is, no
    ratio can be called sufficient.
    """
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(draws_R, ends, method="inverted_cdf")
    answer = "ratio" if np.isfinite(best) and np.isfinite(high) else "not decidable"
    if high == 0:
        answer = "none needed"
    elif low == np.inf:
        answer = "none"
    return {
        "answer": answer,
        "value": float(best) if np.isfinite(best) else None,
        "low": float(low) if np.isfinite(low) else None,
        "high": float(high) if np.isfinite(high) else None,
    }
