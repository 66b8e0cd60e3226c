"""Forgetting and learning over replay, per size and over all sizes; the critical replay ratio."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2

from palimpsest.core import pareto
from palimpsest.core.laws import constant, load, log_linear
from palimpsest.core.laws.form import Array, Law, predict
from palimpsest.core.laws.study.entry import (
    Entry,
    Options,
    make_entry,
    plain_runs,
    points_of,
    pooled_noise,
)

FORMS = {
    "forgetting": ("replay-share", "replay-exponential", "log-linear", "constant"),
    "learning": ("cmr", "replay-line", "log-linear", "constant"),
}
N_GRID = 101


def mixed_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the plain runs of the one policy that was run at most ratios."""
    plain = plain_runs(runs)
    if plain.empty:
        return plain
    by_policy = plain.groupby("policy_label").replay_fraction.agg(["nunique", "size"])
    fullest = by_policy.sort_values(["nunique", "size"]).index[-1]
    return plain[plain.policy_label == fullest]


def per_size(runs: pd.DataFrame, column: str, *, what: str, options: Options) -> list[Entry]:
    """Fit each form of forgetting (or learning) over replay to each size alone."""
    noise = pooled_noise(runs, column)
    entries = []
    for model, group in by_size(runs):
        points = points_of(group, {"p": "replay_fraction"}, target=column, cell=["replay_fraction"])
        grid = np.linspace(0, points.x["p"].max(initial=0.0), N_GRID)
        for form in FORMS[what]:
            if not options.wants(form):
                continue
            entries.append(
                make_entry(
                    f"{what}/{form}/{model}",
                    form_over_replay(form),
                    points,
                    what=f"{what} over replay, {model}",
                    question=2 if what == "forgetting" else 3,
                    options=options,
                    noise=noise,
                    grid={"p": grid},
                    group={"model": model, "n_params": int(group.n_params.iloc[0])},
                )
            )
    return entries


def over_sizes(runs: pd.DataFrame, column: str, *, what: str, options: Options) -> list[Entry]:
    """Fit forgetting (or learning) over replay and size at once."""
    points = points_of(
        runs,
        {"p": "replay_fraction", "N": "n_params"},
        target=column,
        cell=["model", "replay_fraction"],
    )
    sizes = np.unique(points.x["N"])
    ratios = np.linspace(0, points.x["p"].max(initial=0.0), N_GRID)
    grid = {"p": np.tile(ratios, len(sizes)), "N": np.repeat(sizes, len(ratios))}
    laws = [load("replay-size")] if options.wants("replay-size") else []
    return [
        make_entry(
            f"{what}/{law.name}",
            law_for(law),
            points,
            what=f"{what} over replay and size",
            question=2 if what == "forgetting" else 3,
            options=options,
            noise=pooled_noise(runs, column),
            grid=grid,
        )
        for law in [*laws, log_linear.over(["p", "N"]), replace(constant.LAW, inputs=("p", "N"))]
    ]


def form_over_replay(name: str) -> Law:
    """Return a form of one input p that meets signed differences; `cmr` in q = 1 - p."""
    if name == "log-linear":
        return law_for(log_linear.over(["p"]))
    law = law_for(load(name))
    if name == "constant":
        return replace(law, inputs=("p",))
    if name != "cmr":
        return law
    terms = law.terms
    return replace(
        law,
        inputs=("p",),
        terms=lambda e, x: terms(e, {"q": 1 - x["p"]}),
        distinct={"p": law.distinct["q"]},
        domain={"p": (0.0, 1 - law.domain["q"][0])},
    )


def law_for(law: Law) -> Law:
    """Let a law of forgetting meet any signed difference."""
    return replace(law, target="F", compare="difference", noise_scaled=True)


def by_size(runs: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return (model, its runs), smallest model first."""
    groups = [(str(model), group) for model, group in runs.groupby("model")]
    return sorted(groups, key=lambda pair: int(pair[1].n_params.iloc[0]))


def best_of(entries: list[Entry]) -> Entry | None:
    """Return the usable entry with the smallest error on what was left out."""
    usable = [entry for entry in entries if entry.usable]
    return min(usable, key=lambda entry: entry.error) if usable else None


def critical_ratios(
    runs: pd.DataFrame, alone: list[Entry], together: list[Entry], options: Options
) -> list[dict[str, Any]]:
    """Return the critical replay ratio of each size, from its own fit or else the joint one."""
    rows: list[dict[str, Any]] = []
    for model, group in by_size(runs):
        own = best_of([entry for entry in alone if entry.record["group"].get("model") == model])
        chosen = own or best_of(together)
        n_params = float(group.n_params.iloc[0])
        largest = float(group.replay_fraction.max())
        row = {"model": model, "n_params": int(n_params), "fit": chosen.name if chosen else None}
        row |= {"tolerance_nats": options.tolerance_nats, "largest_ratio_tried": largest}
        why = _why_not(chosen, largest=largest)
        if chosen is None or why:
            empty = {"answer": "not decidable", "value": None, "low": None, "high": None}
            rows.append({**row, **empty, "reason": why})
            continue
        answer = critical_of(chosen, n_params, largest=largest, options=options)
        rows.append({**row, **answer, "reason": f"from {chosen.name}"})
    return rows


def _why_not(chosen: Entry | None, *, largest: float) -> str:
    """Return why no ratio can be read off a fit; nothing where one can."""
    if chosen is None:
        return "no fit with an interval"
    if largest == 0:
        return "run without replay only"
    return f"{chosen.name} misses its own points" if misses_points(chosen) else ""


def misses_points(entry: Entry) -> bool:
    """Return whether a fit lies farther from its points than the spread over seeds explains.

    Twice the objective, a sum over residuals in units of that spread, against the 97.5 % point of
    χ² with as many degrees of freedom as points less parameters.
    """
    freedom = entry.fit.n_points - len(entry.fit.theta)
    return freedom > 0 and 2 * entry.fit.objective > float(chi2.ppf(0.975, freedom))


def critical_of(
    entry: Entry, n_params: float, *, largest: float, options: Options
) -> dict[str, Any]:
    """Solve one fit for the ratio at which forgetting meets the tolerance."""
    ratios = np.linspace(0, largest, 4 * N_GRID)
    x = at_size(entry.fit.law, ratios, n_params)
    best = pareto.critical_ratio(ratios, entry.fit.at(x)[None], tolerance=options.tolerance_nats)
    draws = pareto.critical_ratio(
        ratios, predict(entry.fit.law, entry.draws.theta, x), tolerance=options.tolerance_nats
    )
    answer: dict[str, Any] = pareto.critical_answer(
        draws, best=float(best[0]), confidence=options.confidence
    )
    return answer


def at_size(law: Law, ratios: Array, n_params: float) -> dict[str, Array]:
    """Return inputs over replay at one size, for laws with and without a size."""
    x = {"p": ratios}
    if "N" in law.inputs:
        x["N"] = np.full(len(ratios), n_params)
    return x
