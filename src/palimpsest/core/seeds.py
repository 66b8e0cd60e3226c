"""What the seeds of a setting say: a mean and an interval.

A setting with one seed borrows its spread from the settings that were run with several; where
nothing was repeated there is no interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student

CONFIDENCE = 0.95
ENOUGH_SEEDS = 3  # for a spread of their own


def over_seeds(
    frame: pd.DataFrame, value: str, *, by: list[str], own: bool = False
) -> pd.DataFrame:
    """Return one row per setting `by`: mean, n_seeds, stderr, n_free, low, high (95 %).

    The spread is pooled over all settings; with `own`, settings of three seeds or more keep their
    own, for values whose spread differs by setting. A seed that stands twice in a setting (trained
    once, kept with other checkpoints) counts once.
    """
    known = frame.dropna(subset=[value]).drop_duplicates([*by, "seed"])
    groups = known.groupby(by, sort=True)[value]
    table = groups.agg(["mean", "count"]).reset_index().rename(columns={"count": "n_seeds"})
    n_free = int((table.n_seeds - 1).sum())
    spread = np.nan
    if n_free > 0:
        spread = float(np.sqrt(((known[value] - groups.transform("mean")) ** 2).sum() / n_free))
    table = table.assign(stderr=spread / np.sqrt(table.n_seeds), n_free=n_free)
    if own:
        enough = (table.n_seeds >= ENOUGH_SEEDS).to_numpy()
        alone = groups.std(ddof=1).to_numpy() / np.sqrt(table.n_seeds)
        table = table.assign(
            stderr=np.where(enough, alone, table.stderr),
            n_free=np.where(enough, table.n_seeds - 1, n_free),
        )
    half = reach(table)
    return table.assign(low=table["mean"] - half, high=table["mean"] + half)


def reach(cells: pd.DataFrame, *, n_tests: int = 1) -> Any:
    """Return half the width of each cell's 95 % interval; `n_tests` share its 5 % (Bonferroni)."""
    share = 1 - (1 - CONFIDENCE) / (2 * max(n_tests, 1))
    return student.ppf(share, np.maximum(cells.n_free, 1)) * cells.stderr


def one_cell(values: Sequence[float] | np.ndarray | pd.Series) -> pd.DataFrame:
    """Return the mean of independent values as a row like those of `over_seeds`."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    mean = float(known.mean()) if len(known) else float("nan")
    error = float(known.std(ddof=1) / np.sqrt(len(known))) if len(known) > 1 else float("nan")
    row = {"mean": mean, "n_seeds": len(known), "stderr": error, "n_free": len(known) - 1}
    return pd.DataFrame([row])


def rank_correlation(x: pd.Series, y: pd.Series) -> tuple[float, float]:
    """Return Spearman's ρ on Fisher's scale (z) and its error by Bonett and Wright; n ≥ 5.

    Perfect order has no place on that scale: it counts as the nearest that n values can tell.
    """
    n = len(x)
    if n < 5 or x.nunique() < 2 or y.nunique() < 2:
        return float("nan"), float("nan")
    nearest = 1 - 6 / (n**3 - n)  # half a swap of neighbours short of perfect order
    rho = float(np.clip(np.corrcoef(x.rank(), y.rank())[0, 1], -nearest, nearest))
    return float(np.arctanh(rho)), float(np.sqrt((1 + rho**2 / 2) / (n - 3)))


def combined(parts: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Return one ρ, low and high from several (z, error), each weighted by its precision."""
    known = np.array([part for part in parts if np.isfinite(part).all()]).reshape(-1, 2)
    if not len(known):
        return float("nan"), float("nan"), float("nan")
    weights = known[:, 1] ** -2
    middle = float((known[:, 0] * weights).sum() / weights.sum())
    half = float(norm.ppf(0.5 + CONFIDENCE / 2) / np.sqrt(weights.sum()))
    rho, low, high = np.tanh([middle, middle - half, middle + half])
    return float(rho), float(low), float(high)


def paired(first: pd.DataFrame, second: pd.DataFrame, value: str, *, by: list[str]) -> pd.DataFrame:
    """Return second minus first for each setting and seed that both have: `by`, seed, gap."""
    sides = [frame.groupby([*by, "seed"])[value].mean() for frame in (first, second)]
    return (sides[1] - sides[0]).dropna().rename("gap").reset_index()
