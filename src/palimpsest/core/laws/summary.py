"""Turns a fit and its draws into a record: what the JSON of `fit` and of the fits stage holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from palimpsest.core.laws.fitting import Fit
from palimpsest.core.laws.form import Array, natural
from palimpsest.core.laws.intervals import Draws, Noise, bootstrap, interval
from palimpsest.core.laws.points import Points

UNDECIDED = "not decidable"


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
    """Return value and interval by parameter; a refused fit has none.

    `alone` is false for amplitudes: they are tied to their exponent and mean nothing without it.
    An end is null where the draws run to the edge of the parameter's domain: the data leave that
    side open.
    """
    amplitudes = {name for name in fitted.law.linear if fitted.law.free and name != "E"}
    rows: dict[str, dict[str, Any]] = {}
    values_by_name = fitted.parameters if fitted.fitted else {}
    for k, (name, value) in enumerate(values_by_name.items()):
        rows[name] = {"value": value, "low": None, "high": None, "alone": name not in amplitudes}
        if draws.decided:
            values = natural(fitted.law, draws.theta)[:, k]
            rows[name] |= ends_within(values, confidence=confidence)
    return rows


def ends_within(values_R: Array, *, confidence: float) -> dict[str, float | None]:
    """Return an interval's ends; null for one at which several draws were stopped by the domain."""
    low, high = interval(values_R, confidence=confidence)
    edges = {"low": (float(low), values_R.min()), "high": (float(high), values_R.max())}
    return {
        name: None if end == edge and np.sum(values_R == edge) > 1 else end
        for name, (end, edge) in edges.items()
    }


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
