"""The critical replay ratio p*(N, f) per size, policy and loss, from the fits over replay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core import pareto
from palimpsest.core.laws.form import predict
from palimpsest.core.laws.intervals import Noise
from palimpsest.core.laws.study.entry import Entry, Options, pooled_noise
from palimpsest.core.laws.study.replay import N_GRID, at_size, best_of, by_size, per_size

Rows = list[dict[str, Any]]


def critical_ratios(
    runs: pd.DataFrame,
    alone: list[Entry],
    together: list[Entry],
    options: Options,
    *,
    tolerance: float | None = None,
) -> Rows:
    """Return the critical replay ratio of each size, from its own fit or else the joint one.

    The tolerance is that of forgetting in nats, unless another one is given.
    """
    rows: Rows = []
    within = options.tolerance_nats if tolerance is None else tolerance
    for model, group in by_size(runs):
        own = best_of([entry for entry in alone if entry.record["group"].get("model") == model])
        chosen = own or best_of(together)
        n_params = float(group.n_params.iloc[0])
        largest = float(group.replay_fraction.max())
        row = {"model": model, "n_params": int(n_params), "fit": chosen.name if chosen else None}
        row |= {"tolerance_nats": within, "largest_ratio_tried": largest}
        why = _why_not(chosen, largest=largest)
        if chosen is None or why:
            empty = {"answer": "not decidable", "value": None, "low": None, "high": None}
            rows.append({**row, **empty, "reason": why})
            continue
        answer = _solved(chosen, n_params, largest=largest, tolerance=within, options=options)
        rows.append({**row, **answer, "reason": f"from {chosen.name}"})
    return rows


def _why_not(chosen: Entry | None, *, largest: float) -> str:
    """Return why no ratio can be read off a fit; nothing where one can."""
    if chosen is None:
        return "no fit with an interval"
    if largest == 0:
        return "run without replay only"
    return f"{chosen.name} misses its own points" if chosen.misses else ""


def _solved(
    entry: Entry, n_params: float, *, largest: float, tolerance: float, options: Options
) -> dict[str, Any]:
    """Solve one fit for the ratio at which loss meets the tolerance."""
    ratios = np.linspace(0, largest, 4 * N_GRID)
    x = at_size(entry.fit.law, ratios, n_params)
    best = pareto.critical_ratio(ratios, entry.fit.at(x)[None], tolerance=tolerance)
    drawn = predict(entry.fit.law, entry.draws.theta, x)
    draws = pareto.critical_ratio(ratios, drawn, tolerance=tolerance)
    answer: dict[str, Any] = pareto.critical_answer(
        draws, best=float(best[0]), confidence=options.confidence
    )
    return answer


def of_policies(
    sweeps: dict[str, pd.DataFrame], noise: Noise | None, options: Options
) -> tuple[list[Entry], Rows]:
    """Return forgetting over replay under each further policy, and its critical ratios."""
    entries: list[Entry] = []
    rows: Rows = []
    for label, runs in sweeps.items():
        fits = per_size(
            runs,
            "forgetting_nats",
            what="forgetting",
            noise=pooled_noise(runs, "forgetting_nats") or noise,
            options=options,
            end=f", {label}",
        )
        entries += fits
        rows += named(critical_ratios(runs, fits, [], options), runs, task=None, metric=None)
    return entries, rows


def of_benchmarks(
    runs: pd.DataFrame, evals: pd.DataFrame, options: Options
) -> tuple[list[Entry], Rows]:
    """Return the collapse of each benchmark over replay, and its critical ratios.

    A benchmark stands with its first metric, as it does in the Pareto fronts. The noise is that
    of its items, paired with the base's; seeds were not evaluated.
    """
    entries: list[Entry] = []
    rows: Rows = []
    scored = evals[evals.run.isin(runs.run) & evals.tolerance.notna()]
    for task, of_task in scored.groupby("task"):
        metric = str(of_task.metric.min())
        results = of_task[of_task.metric == metric]
        columns = ["run", "collapse", "collapse_stderr", "n_items"]
        merged = runs.merge(results[columns], on="run")
        what = f"collapse of {task} by {metric}"
        noise = item_noise(merged)
        fits = per_size(merged, "collapse", what=what, noise=noise, options=options)
        tolerance = float(results.tolerance.iloc[0])
        found = critical_ratios(merged, fits, [], options, tolerance=tolerance)
        entries += fits
        rows += named(found, merged, task=str(task), metric=metric)
    return entries, rows


def item_noise(rows: pd.DataFrame) -> Noise | None:
    """Return the error over items as the noise of a run; None where no collapse is defined."""
    variance = float((rows.collapse_stderr**2).mean())
    return Noise(float(np.sqrt(variance)), int(rows.n_items.min()) - 1) if variance > 0 else None


def named(rows: Rows, runs: pd.DataFrame, *, task: str | None, metric: str | None) -> Rows:
    """Add to critical ratios what they are of: policy, decrease asked per step, task and metric."""
    first = runs.iloc[0] if len(runs) else None
    label = None if first is None else str(first.policy_label)
    decrease = None if first is None else float(first.decrease_asked)
    keys = {"policy_label": label, "decrease": decrease, "task": task, "metric": metric}
    return [{**keys, **row} for row in rows]
