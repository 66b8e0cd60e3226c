"""Turns points and a law into one entry of the fits: record, draws and a curve with a band."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core.laws.fitting import Fit, fit
from palimpsest.core.laws.form import Array, Law
from palimpsest.core.laws.intervals import Draws, Noise, replicate_noise
from palimpsest.core.laws.points import Points
from palimpsest.core.laws.summary import drawn, record
from palimpsest.core.laws.validation import Row, held_out, misses_points
from palimpsest.core.plain_runs import SETTING, one_per_seed

COLUMN = {"N": "n_params", "x": "n_params", "p": "replay_fraction", "f": "decrease"}


@dataclass(frozen=True)
class Options:
    """How intervals are made and what counts as tolerable; `laws` names the forms to fit."""

    laws: tuple[str, ...]
    n_draws: int
    seed: int
    tolerance_nats: float
    confidence: float = 0.95  # as every interval of the tables and of the report

    def wants(self, name: str) -> bool:
        """Whether a form was asked for; the baselines always are."""
        return name in self.laws or name in ("log-linear", "constant")


@dataclass(frozen=True)
class Entry:
    """One fit: its record for fits.json, and its curve (fit, x columns, y, low, high).

    `misses` says whether it lies farther from its points than seeds do; None where none were run.
    """

    name: str
    record: dict[str, Any]
    fit: Fit
    draws: Draws
    curve: pd.DataFrame
    misses: bool | None = None

    @property
    def usable(self) -> bool:
        """Whether the fit can be predicted from, with an interval."""
        return self.fit.fitted and self.draws.decided

    @property
    def why_not(self) -> str:
        """Return why there is nothing to predict with an interval; empty where there is."""
        return "" if self.usable else str(self.record["reason"])

    @property
    def error(self) -> float:
        """Mean error on what was left out, over the splits; infinity where one was refused."""
        own = [row["error"] for row in self.record["held_out"] if row["form"] == self.fit.law.name]
        return float(np.mean(own)) if own and None not in own else float("inf")


def make_entry(
    name: str,
    law: Law,
    points: Points,
    *,
    what: str,
    question: int,
    options: Options,
    noise: Noise | None = None,
    grid: Mapping[str, Array] | None = None,
    group: Mapping[str, Any] | None = None,
) -> Entry:
    """Fit, draw, validate and describe; `grid` says where the curve is wanted, by symbol."""
    noise = noise or replicate_noise(points, law)
    sigma = noise.sigma if noise else None
    fitted = fit(law, points, noise=sigma, seed=options.seed)
    draws = drawn(fitted, points, noise=noise, n_draws=options.n_draws, seed=options.seed)
    checks: list[Row] = []
    if fitted.fitted:
        checks = held_out(law, points, noise=sigma, near=fitted.theta)
    rows = record(fitted, draws, confidence=options.confidence, held_out_rows=checks)
    misses = misses_points(fitted, points, noise=noise)
    rows |= {
        "misses_points": misses,
        "name": name,
        "what": what,
        "question": question,
        "group": dict(group or {}),
    }
    rows["inputs"] = {symbol: COLUMN.get(symbol, symbol) for symbol in law.inputs}
    curve = curve_of(name, fitted, draws, grid or {}, confidence=options.confidence)
    return Entry(name, rows, fitted, draws, curve, misses=misses)


def curve_of(
    name: str, fitted: Fit, draws: Draws, grid: Mapping[str, Array], *, confidence: float
) -> pd.DataFrame:
    """Return the fitted curve with its band; empty where there is no fit."""
    if not fitted.fitted or not grid:
        return pd.DataFrame()
    x = {symbol: np.asarray(values, dtype=float) for symbol, values in grid.items()}
    curve = pd.DataFrame({COLUMN.get(symbol, symbol): values for symbol, values in x.items()})
    curve.insert(0, "fit", name)
    curve["y"] = fitted.at(x)
    low, high = draws.band(fitted.law, x, confidence=confidence) if draws.decided else (np.nan,) * 2
    return curve.assign(low=low, high=high)


def points_of(
    runs: pd.DataFrame, inputs: Mapping[str, str], *, target: str, cell: list[str]
) -> Points:
    """Return points from a frame of runs, one row per run; incomplete rows are left out."""
    complete = runs.dropna(subset=[*inputs.values(), target])
    unique = complete.drop_duplicates("run")
    return Points(
        x={symbol: unique[column].to_numpy(dtype=float) for symbol, column in inputs.items()},
        y=unique[target].to_numpy(dtype=float),
        run=np.arange(len(unique)),
        cell=unique.groupby(cell, dropna=False).ngroup().to_numpy(),
        n_missing=len(runs) - len(complete),
        n_repeated=len(complete) - len(unique),
        groups=rates_of(unique),
    )


def rates_of(rows: pd.DataFrame) -> dict[str, Array]:
    """Return the policies of rows as numbers, for leaving out each rate in turn."""
    return {"rate": pd.factorize(rows.policy_label)[0]} if "policy_label" in rows else {}


def pooled_noise(runs: pd.DataFrame, column: str) -> Noise | None:
    """Estimate how far runs of one setting lie apart, over all settings run more than once."""
    known = one_per_seed(runs.dropna(subset=[column]).drop_duplicates("run"))
    settings = [known[name] for name in SETTING]
    away = known[column] - known.groupby(SETTING)[column].transform("first")
    away -= away.groupby(settings).transform("mean")
    n_free = len(known) - known.groupby(SETTING).ngroups
    total = float((away**2).sum())
    return Noise(float(np.sqrt(total / n_free)), n_free) if n_free > 0 and total > 0 else None


def sizes_around(n_params: Array, *, beyond: float = 10.0, n_values: int = 61) -> Array:
    """Return sizes from the smallest to `beyond` times the largest, even on a log scale."""
    return np.geomspace(n_params.min(), n_params.max() * beyond, n_values)
