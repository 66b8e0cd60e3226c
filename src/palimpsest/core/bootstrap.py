"""A series in order → resamples whose neighbours stay together; resampled numbers → intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SMALLEST_SERIES = 10  # fewer members give blocks too few to vary


def moving_blocks(n: int, *, n_resamples: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Draw resamples of 0…n−1 in overlapping blocks of about n^(1/3) neighbours.

    Shape (n_resamples, n); block length and scheme as Künsch (1989), Hall et al. (1995).
    """
    length = max(2, round(n ** (1 / 3)))
    n_blocks = -(-n // length)
    starts = random.integers(0, n - length + 1, size=(n_resamples, n_blocks, 1))
    return (starts + np.arange(length)).reshape(n_resamples, -1)[:, :n]


def block_counts(n: int, *, n_resamples: int, random: np.random.Generator) -> Array:
    """Return how often each resample of `moving_blocks` holds each member; (n_resamples, n)."""
    drawn = moving_blocks(n, n_resamples=n_resamples, random=random)
    places = drawn + n * np.arange(n_resamples)[:, None]
    counts = np.bincount(places.ravel(), minlength=n * n_resamples)
    return counts.reshape(n_resamples, n).astype(float)


def resampled_spearman(values: Array, counts: Array) -> Array:
    """Return Spearman's ρ of values with their places in every resample, ties averaged.

    Ranks come from counts, not from sorting each resample; NaN where a resample is constant.
    """
    ranks = _centred_ranks(values, counts)
    places = _centred_ranks(np.arange(len(values), dtype=float), counts)
    product = (counts * ranks * places).sum(1)
    scale = np.sqrt((counts * ranks**2).sum(1) * (counts * places**2).sum(1))
    return product / np.where(scale > 0, scale, np.nan)


def interval(samples: Array, *, confidence: float) -> tuple[float, float]:
    """Return the percentile interval, or NaNs when a tenth of the samples or more is undefined."""
    finite = samples[np.isfinite(samples)]
    if len(finite) <= 0.9 * len(samples):
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)


def _centred_ranks(values: Array, counts: Array) -> Array:
    """Return each member's average rank in every resample, less the mean rank."""
    _, group = np.unique(values, return_inverse=True)
    members = counts @ (group[:, None] == np.arange(group.max() + 1)).astype(float)
    ranks = np.cumsum(members, axis=1) - (members - 1) / 2
    return ranks[:, group] - (len(values) + 1) / 2
