"""The critical replay ratio p*(N, f) per size, policy and loss, from the fits over replay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core import pareto
from palimpsest.core.laws.form import predict
from palimpsest.core.laws.intervals import Noise
from palimpsest.core.laws.study.entry import Entry, Options, pooled_noise
from palimpsest.core.laws.study.replay import (
    N_GRID,
    at_size,
    best_of,
    by_size,
    main_sweep,
    other_sweeps,
    per_size,
)
from palimpsest.core.plain_runs import SETTING, mixed_runs

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
    """Return the collapse of each benchmark over replay under each policy, and its critical ratios.

    runs: all of the study; their policies are the main one and those of `other_sweeps`. A benchmark
    stands with its first metric, as it does in the Pareto fronts.
    """
    entries: list[Entry] = []
    rows: Rows = []
    sweeps = {"": main_sweep(runs)}
    sweeps |= {f", {label}": sweep for label, sweep in other_sweeps(runs).items()}
    mixed = mixed_runs(runs)
    scored = evals[evals.run.isin(mixed.run) & evals.tolerance.notna()]
    for task, of_task in scored.groupby("task"):
        metric = str(of_task.metric.min())
        results = of_task[of_task.metric == metric]
        columns = ["run", "collapse", "collapse_stderr", "n_items", "tolerance"]
        merged = mixed.merge(results[columns], on="run")
        of_all = pooled_noise(merged, "collapse")
        for end, sweep in sweeps.items():
            ours = merged[merged.run.isin(sweep.run)]
            what = f"collapse of {task} by {metric}"
            fits, found = of_collapse(ours, of_all, options, what=what, end=end)
            entries += fits
            rows += named(found, ours, task=str(task), metric=metric)
    return entries, rows


def of_collapse(
    rows: pd.DataFrame, seeds_of_all: Noise | None, options: Options, *, what: str, end: str
) -> tuple[list[Entry], Rows]:
    """Return one benchmark's fits to each size under one policy, and what follows from them."""
    if rows.empty:
        return [], []
    items = item_noise(rows)
    seeds = pooled_noise(rows, "collapse") or seeds_of_all
    fits: list[Entry] = []
    for _, group in by_size(rows):
        noise = run_noise(group, items=items, seeds=seeds)
        fits += per_size(group, "collapse", what=what, noise=noise, options=options, end=end)
    tolerance = float(rows.tolerance.iloc[0])
    return fits, critical_ratios(rows, fits, [], options, tolerance=tolerance)


def run_noise(rows: pd.DataFrame, *, items: Noise | None, seeds: Noise | None) -> Noise | None:
    """Return the noise of a run's collapse: the spread over seeds and the error over items.

    All seeds of a setting meet the same items: their spread does not hold the items' error, and
    their mean does not lessen it. The runs are drawn one by one, so each takes as many times the
    items' variance as the setting with the most seeds has runs.
    """
    most = max(int(rows.groupby(SETTING).collapse.count().max()), 1)
    if items is None:
        return seeds
    shared = Noise(items.sigma * float(np.sqrt(most)), items.n_free)
    return summed([seeds, shared]) if seeds else shared


def summed(parts: list[Noise]) -> Noise:
    """Return independent noises as one; degrees of freedom by Welch and Satterthwaite."""
    variances = np.array([part.sigma**2 for part in parts])
    shares = variances / variances.sum()
    n_free = 1 / float((shares**2 / [part.n_free for part in parts]).sum())
    return Noise(float(np.sqrt(variances.sum())), int(n_free))


def item_noise(rows: pd.DataFrame) -> Noise | None:
    """Return the error over items, paired with the base's; None where no collapse is defined."""
    variance = float((rows.collapse_stderr**2).mean())
    return Noise(float(np.sqrt(variance)), int(rows.n_items.min()) - 1) if variance > 0 else None


def named(rows: Rows, runs: pd.DataFrame, *, task: str | None, metric: str | None) -> Rows:
    """Add to critical ratios what they are of: policy, decrease asked per step, task and metric."""
    first = runs.iloc[0] if len(runs) else None
    label = None if first is None else str(first.policy_label)
    decrease = None if first is None else float(first.decrease_asked)
    keys = {"policy_label": label, "decrease": decrease, "task": task, "metric": metric}
    return [{**keys, **row} for row in rows]
