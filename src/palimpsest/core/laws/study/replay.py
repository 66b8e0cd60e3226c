"""Forgetting, learning and collapse over replay, per size and over all sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from palimpsest.core.laws import constant, load, log_linear
from palimpsest.core.laws.form import Array, Law
from palimpsest.core.laws.intervals import Noise
from palimpsest.core.laws.study.entry import Entry, Options, make_entry, points_of
from palimpsest.core.plain_runs import main_policy, mixed_runs

LOSS_FORMS = ("replay-share", "replay-exponential", "log-linear", "constant")
LEARNING_FORMS = ("cmr", "replay-line", "log-linear", "constant")
N_GRID = 101
LEAST_RATIOS = 3  # below 1; with fewer no form over the ratio can be judged


def main_sweep(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the plain runs of the one policy that was run at the most ratios."""
    plain = mixed_runs(runs)
    if plain.empty:
        return plain
    return plain[plain.policy_label == main_policy(plain)]


def other_sweeps(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the plain runs of every further policy that was run at enough ratios, by its label."""
    plain = mixed_runs(runs)
    main = set(main_sweep(runs).policy_label)
    groups = {str(label): group for label, group in plain.groupby("policy_label")}
    return {
        label: group
        for label, group in groups.items()
        if label not in main and group.replay_fraction.nunique() >= LEAST_RATIOS
    }


def per_size(
    runs: pd.DataFrame,
    column: str,
    *,
    what: str,
    noise: Noise | None,
    options: Options,
    end: str = "",
) -> list[Entry]:
    """Fit each form of forgetting, collapse or learning over replay to each size alone."""
    learning = what == "learning"
    entries = []
    for model, group in by_size(runs):
        points = points_of(group, {"p": "replay_fraction"}, target=column, cell=["replay_fraction"])
        grid = np.linspace(0, points.x["p"].max(initial=0.0), N_GRID)
        for form in LEARNING_FORMS if learning else LOSS_FORMS:
            if not options.wants(form):
                continue
            entries.append(
                make_entry(
                    f"{what}/{form}/{model}{end}",
                    form_over_replay(form),
                    points,
                    what=f"{what} over replay, {model}{end}",
                    question=3 if learning else 2,
                    options=options,
                    noise=noise,
                    grid={"p": grid},
                    group={"model": model, "n_params": int(group.n_params.iloc[0])},
                )
            )
    return entries


def over_sizes(
    runs: pd.DataFrame, column: str, *, what: str, noise: Noise | None, options: Options
) -> list[Entry]:
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
            noise=noise,
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
    """Return the usable entry with the smallest error on what was left out.

    One that misses its own points is taken only where all do.
    """
    usable = [entry for entry in entries if entry.usable]
    return min(usable, key=lambda one: (one.misses is True, one.error)) if usable else None


def at_size(law: Law, ratios: Array, n_params: float) -> dict[str, Array]:
    """Return inputs over replay at one size, for laws with and without a size."""
    x = {"p": ratios}
    if "N" in law.inputs:
        x["N"] = np.full(len(ratios), n_params)
    return x
