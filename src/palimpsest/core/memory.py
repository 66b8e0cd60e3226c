"""Signed forgetting in the order of training → is the order remembered, and which part best."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from palimpsest.core.bootstrap import SMALLEST_SERIES, block_counts, interval, resampled_spearman

Array = NDArray[np.float64]

N_RESAMPLES = 1000
CONFIDENCE = 0.95
FEWEST_SEEDS = 3
NO_INTERVAL = (float("nan"), float("nan"))


def memory(
    F_after: Array,
    F_before: Array,
    control: Array | None,
    *,
    control_in_story: Array | None = None,
) -> dict[str, float]:
    """Measure how forgetting depends on training position, and where it is least.

    All series are in the order of training, nats per token; control: F_after of the same run in
    shuffled order, in *its* order of training; control_in_story: the same in the order of the
    text. There ρ and fifths tell what the pieces themselves make of it, whenever they come.
    primacy = middle − first fifth, recency = middle − last fifth: positive when that end is
    remembered better. Intervals by moving-block bootstrap over the pieces, NaN for fewer than ten;
    without a control the order memory is NaN.
    """
    against = np.array([]) if control is None else control
    story = np.array([]) if control_in_story is None else control_in_story
    low, high = _order_memory_interval(F_after, against)
    row = {
        "n_pieces": float(len(F_after)),
        "spearman": spearman(F_after),
        "spearman_control": spearman(against),
        "spearman_control_story": spearman(story),
        "order_memory": spearman(F_after) - spearman(against),
        "low": low,
        "high": high,
    }
    row |= _ends(F_after)
    for name, series in (
        ("F_after", F_after),
        ("F_before", F_before),
        ("F_after_control_story", story),
    ):
        row |= {f"{name}_fifth_{i}": float(x) for i, x in enumerate(fifths(series), start=1)}
    return row


def order_memory_over_seeds(pairs: list[tuple[Array, Array]]) -> dict[str, float]:
    """Return the mean order memory of one setting's seeds, each a pair (F_after, its control).

    The interval resamples seeds, and within each drawn seed blocks of pieces; NaN below three
    seeds or where one of them has fewer than ten pieces.
    """
    differences = [spearman(series) - spearman(control) for series, control in pairs]
    low, high = NO_INTERVAL
    shortest = min(len(one) for pair in pairs for one in pair)
    if len(pairs) >= FEWEST_SEEDS and shortest >= SMALLEST_SERIES:
        resampled = np.stack([_resampled_difference(*pair) for pair in pairs])
        random = np.random.default_rng(len(pairs))
        shape = (N_RESAMPLES, len(pairs))
        seeds = random.integers(0, len(pairs), size=shape)
        drawn = resampled[seeds, random.integers(0, N_RESAMPLES, size=shape)]
        low, high = interval(drawn.mean(1), confidence=CONFIDENCE)
    mean = float(np.mean(differences))
    return {"n_seeds": len(pairs), "order_memory": mean, "low": low, "high": high}


def spearman(values: Array) -> float:
    """Return Spearman's ρ with the places 0, 1, …; NaN below three values or if all are equal."""
    if len(values) < 3:
        return float("nan")
    ranks = rankdata(values) - (len(values) + 1) / 2
    places = np.arange(len(values)) - (len(values) - 1) / 2
    scale = np.sqrt((ranks**2).sum() * (places**2).sum())
    return float(ranks @ places / scale) if scale > 0 else float("nan")


def fifths(values: Array, counts: Array | None = None) -> Array:
    """Average the values by fifth of the training order; shape (…, 5).

    A value belongs to the fifth that holds the middle of its place; an empty fifth is NaN.
    counts: how often each value counts, (…, n); default once.
    """
    n = len(values)
    weights = np.ones(n) if counts is None else counts
    fifth = ((np.arange(n) + 0.5) * 5 / max(n, 1)).astype(int)
    members = (fifth[:, None] == np.arange(5)).astype(float)
    n_members = weights @ members
    return (weights * values) @ members / np.where(n_members > 0, n_members, np.nan)


def _ends(F_after: Array) -> dict[str, float]:
    first, _, middle, _, last = fifths(F_after)
    primacy = recency = NO_INTERVAL
    if len(F_after) >= SMALLEST_SERIES:
        means = fifths(F_after, _counts(len(F_after), 0))
        primacy = interval(means[:, 2] - means[:, 0], confidence=CONFIDENCE)
        recency = interval(means[:, 2] - means[:, 4], confidence=CONFIDENCE)
    return {
        "primacy_nats": float(middle - first),
        "primacy_nats_low": primacy[0],
        "primacy_nats_high": primacy[1],
        "recency_nats": float(middle - last),
        "recency_nats_low": recency[0],
        "recency_nats_high": recency[1],
    }


def _order_memory_interval(series: Array, control: Array) -> tuple[float, float]:
    if min(len(series), len(control)) < SMALLEST_SERIES:
        return NO_INTERVAL
    return interval(_resampled_difference(series, control), confidence=CONFIDENCE)


def _resampled_difference(series: Array, control: Array) -> Array:
    resampled = resampled_spearman(series, _counts(len(series), 0))
    return resampled - resampled_spearman(control, _counts(len(control), 1))


@lru_cache(maxsize=64)
def _counts(n: int, draw: int) -> Array:
    """Return the block resamples that every series of n pieces shares; `draw` tells sides apart."""
    return block_counts(n, n_resamples=N_RESAMPLES, random=np.random.default_rng([draw, n]))
