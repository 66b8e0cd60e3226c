"""Turns a table into the record of one fit: what the JSON of `fit` and of the fits stage holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core.laws.fitting import Fit, fit
from palimpsest.core.laws.form import Law, natural
from palimpsest.core.laws.intervals import Draws, Noise, bootstrap, interval, replicate_noise
from palimpsest.core.laws.points import Points, gather
from palimpsest.core.laws.validation import held_out

UNDECIDED = "not decidable"
MOST_AT_EDGE = 0.2  # of the draws; beyond it an interval of the parameter would be the box's


def fit_table(
    law: Law,
    frame: pd.DataFrame,
    columns: Mapping[str, str],
    *,
    n_draws: int = 0,
    confidence: float = 0.95,
    seed: int = 0,
    run: str | None = None,
    cell: Sequence[str] = (),
) -> dict[str, Any]:
    """Fit a law to any table whose columns are named per symbol and return its record.

    Without `run` the rows count as independent points; see `gather` for `run` and `cell`.
    """
    points = gather(frame, law, columns, run=run, cell=cell)
    noise = replicate_noise(points, law)
    fitted = fit(law, points, noise=noise.sigma if noise else None, seed=seed)
    draws = drawn(fitted, points, noise=noise, n_draws=n_draws, seed=seed)
    checks = held_out(law, points, noise=noise.sigma if noise else None)
    return record(fitted, draws, confidence=confidence, held_out_rows=checks)


def drawn(fitted: Fit, points: Points, *, noise: Noise | None, n_draws: int, seed: int) -> Draws:
    """Return the bootstrap of a fit, or no draws where none were asked or there is no fit."""
    none = np.empty((0, len(fitted.law.parameters)))
    if not fitted.fitted:
        return Draws(none, "none", fitted.reason)
    if n_draws == 0:
        return Draws(none, "none", "no bootstrap was asked for")
    return bootstrap(fitted, points, noise=noise, n_draws=n_draws, seed=seed)


def record(
    fitted: Fit, draws: Draws, *, confidence: float, held_out_rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return a fit as plain JSON values; numbers that do not exist are null."""
    undecided = fitted.fitted and not draws.decided and draws.reason.startswith("no setting")
    return plain(
        {
            "law": fitted.law.name,
            "formula": fitted.law.formula,
            "source": fitted.law.source,
            "fixed": dict(fitted.law.fixed),
            "status": UNDECIDED if undecided else fitted.status,
            "reason": draws.reason if undecided else fitted.reason,
            "parameters": parameters(fitted, draws, confidence=confidence),
            "objective": fitted.objective,
            "delta": fitted.delta,
            "delta_moves": fitted.delta_moves,
            "noise": fitted.noise,
            "condition": fitted.condition,
            "n_points": fitted.n_points,
            "n_draws": len(draws.theta),
            "resampling": draws.method,
            "routes": fitted.routes,
            "held_out": held_out_rows,
            "residuals": fitted.residuals.tolist(),
        }
    )


def parameters(fitted: Fit, draws: Draws, *, confidence: float) -> dict[str, dict[str, Any]]:
    """Return value and interval by parameter.

    `alone` is false for amplitudes: they are tied to their exponent and mean nothing without it.
    A refused fit has none. No interval is given where many draws run to the edge of the
    parameter's domain.
    """
    amplitudes = {name for name in fitted.law.linear if fitted.law.free and name != "E"}
    rows: dict[str, dict[str, Any]] = {}
    values_by_name = fitted.parameters if fitted.fitted else {}
    for k, (name, value) in enumerate(values_by_name.items()):
        rows[name] = {"value": value, "low": None, "high": None, "alone": name not in amplitudes}
        if not draws.decided:
            continue
        values = natural(fitted.law, draws.theta)[:, k]
        at_edge = np.mean((values == values.min()) | (values == values.max()))
        if at_edge <= MOST_AT_EDGE:
            low, high = interval(values, confidence=confidence)
            rows[name] |= {"low": float(low), "high": float(high)}
    return rows


def plain(value: Any) -> Any:
    """Return a value in JSON's own types; what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
