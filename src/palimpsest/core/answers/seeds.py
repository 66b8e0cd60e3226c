"""What the seeds of a setting say: a mean and an interval.

A setting with one seed borrows its spread from the settings that were run with several
(laws.md, procedure 4); where nothing was repeated there is no interval.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student

CONFIDENCE = 0.95


def over_seeds(frame: pd.DataFrame, value: str, *, by: list[str]) -> pd.DataFrame:
    """Return one row per setting `by`: mean, n_seeds, low, high (95 %, pooled spread).

    A seed that stands twice in a setting (trained once, kept with other checkpoints) counts once.
    """
    known = frame.dropna(subset=[value]).drop_duplicates([*by, "seed"])
    groups = known.groupby(by, sort=True)[value]
    table = groups.agg(["mean", "count"]).reset_index().rename(columns={"count": "n_seeds"})
    freedom = int((table.n_seeds - 1).sum())
    spread = np.nan
    if freedom > 0:
        spread = float(np.sqrt(((known[value] - groups.transform("mean")) ** 2).sum() / freedom))
    reach = float(student.ppf(0.5 + CONFIDENCE / 2, max(freedom, 1))) * spread
    half = reach / np.sqrt(table.n_seeds)
    return table.assign(low=table["mean"] - half, high=table["mean"] + half)


def mean_interval(values: Sequence[float] | np.ndarray | pd.Series) -> tuple[float, float, float]:
    """Return mean, low and high of Student's 95 % interval; both ends NaN below two values."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if len(known) == 0:
        return float("nan"), float("nan"), float("nan")
    mean = float(known.mean())
    if len(known) == 1:
        return mean, float("nan"), float("nan")
    reach = float(student.ppf(0.5 + CONFIDENCE / 2, len(known) - 1)) * known.std(ddof=1)
    half = float(reach / np.sqrt(len(known)))
    return mean, mean - half, mean + half


def difference(first: pd.Series, second: pd.Series) -> tuple[float, float, float]:
    """Return second minus first, two rows of `over_seeds`, with the interval of the difference."""
    half = float(np.hypot(first["high"] - first["mean"], second["high"] - second["mean"]))
    middle = float(second["mean"] - first["mean"])
    return middle, middle - half, middle + half


def rank_correlation(x: pd.Series, y: pd.Series) -> tuple[float, float, float]:
    """Return Spearman's ρ and its 95 % interval (Fisher's z, Bonett and Wright's error), n ≥ 5."""
    n = len(x)
    if n < 5 or x.nunique() < 2 or y.nunique() < 2:
        return float("nan"), float("nan"), float("nan")
    rho = float(np.corrcoef(x.rank(), y.rank())[0, 1])
    z = np.arctanh(np.clip(rho, -0.999999, 0.999999))
    half = float(norm.ppf(0.5 + CONFIDENCE / 2)) * np.sqrt((1 + rho**2 / 2) / (n - 3))
    return rho, float(np.tanh(z - half)), float(np.tanh(z + half))
