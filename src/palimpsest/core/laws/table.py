"""Turns any table of results into the record of one fitted law, in Python as `palimpsest fit` does.

record = fit_table(frame, "chinchilla", {"N": "n_params", "D": "n_tokens", "L": "loss"})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from palimpsest.core.laws import constant, load, log_linear
from palimpsest.core.laws.fitting import Fit, fit, left_out
from palimpsest.core.laws.form import Law
from palimpsest.core.laws.intervals import replicate_noise
from palimpsest.core.laws.points import Points, gather
from palimpsest.core.laws.summary import drawn, record
from palimpsest.core.laws.validation import held_out
from palimpsest.faults import Fault

KEPT = [
    *("law", "formula", "source", "objective", "delta", "delta_moves", "n_points"),
    *("routes", "held_out", "condition", "noise", "n_draws", "resampling"),
]


def fit_table(
    frame: pd.DataFrame,
    law: str | Law,
    columns: Mapping[str, str],
    *,
    n_draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    run: str | None = None,
    cell: Sequence[str] = (),
) -> dict[str, Any]:
    """Fit a law to the rows of a table and return its record; docs/fits.md lists the keys.

    `columns` names the column of each symbol. `run` names the column that tells runs (seeds)
    apart: then runs of one setting are replicates and are resampled whole; without it rows count
    as independent points. `cell` names the columns of a setting; see `gather`. Raises Fault with
    one line where the law cannot be fitted.
    """
    form = form_for(law, columns)
    points = gather(frame, form, columns, run=run, cell=cell)
    noise = replicate_noise(points, form)
    fitted = fit(form, points, noise=noise.sigma if noise else None, seed=seed)
    refuse(fitted, points)
    draws = drawn(fitted, points, noise=noise, n_draws=n_draws, seed=seed)
    sigma = noise.sigma if noise else None
    checks = held_out(form, points, noise=sigma, near=fitted.theta)
    whole = record(fitted, draws, confidence=confidence, held_out_rows=checks)
    ends = ("value", "low", "high")
    parameters = {n: {e: of[e] for e in ends} for n, of in whole["parameters"].items()}
    notes = [fitted.reason] + ([] if draws.decided else [draws.reason])
    content = {key: whole[key] for key in KEPT} | {"parameters": parameters}
    return content | {"confidence": confidence, "notes": notes}


def form_for(law: str | Law, columns: Mapping[str, str]) -> Law:
    """Return the law that a name stands for; the baselines take the inputs that are given.

    Raises Fault where a symbol is not the law's.
    """
    form = load(law) if isinstance(law, str) else law
    given = [symbol for symbol in columns if symbol != form.target]
    if form.name == log_linear.LAW.name:
        return log_linear.over(given)
    if form.name == constant.LAW.name:
        return replace(form, inputs=tuple(given))
    unknown = [symbol for symbol in given if symbol not in form.inputs]
    if unknown:
        symbols = ", ".join((*form.inputs, form.target))
        raise Fault(f"columns: {form.name} has no symbol {unknown[0]}; it has {symbols}")
    return form


def refuse(fitted: Fit, points: Points) -> None:
    """Raise a Fault with the reason, and what was left out, where there is no fit."""
    if fitted.fitted:
        return
    reason = fitted.reason if len(points) else "no row has a number in every column"
    missing = "; ".join(left_out(points))
    raise Fault(f"{fitted.law.name}: not fitted: {reason}{f' ({missing})' if missing else ''}")
