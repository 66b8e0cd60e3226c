"""The rate for a given one-step decrease, the best rate and the edge, over model size."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd

from palimpsest.core.laws import load
from palimpsest.core.laws.form import Array, Law, predict
from palimpsest.core.laws.points import Points
from palimpsest.core.laws.study.entry import Entry, Options, make_entry, sizes_around

ALONE = ("best", "edge")


def rate_fits(rates: pd.DataFrame, options: Options) -> list[Entry]:
    """Fit `decrease-lr` to the asked decreases, and without f to `best` and `edge`."""
    if not options.wants("decrease-lr"):
        return []
    entries = []
    law = load("decrease-lr")
    for replay in sorted(rates.replay_fraction.unique()):
        group = rates[rates.replay_fraction == replay]
        asked = group[(group.target == "decrease") & (group.decrease > 0)]
        entries.append(rate_entry("decrease", asked, law, replay=float(replay), options=options))
        for target in ALONE:
            found = group[group.target == target].assign(decrease=1.0)
            held = law.fix(nu=0.0)
            entries.append(rate_entry(target, found, held, replay=float(replay), options=options))
    return entries


def rate_entry(
    target: str, rates: pd.DataFrame, law: Law, *, replay: float, options: Options
) -> Entry:
    """Fit the rates of one target at one replay ratio."""
    points = rate_points(rates)
    sizes = sizes_around(points.x["N"]) if len(points) else np.empty(0)
    decreases = np.unique(points.x["f"])
    pairs = np.array(list(itertools.product(decreases, sizes))).reshape(-1, 2)
    law = law if target not in ALONE else without_decrease(law)
    grid = {"N": pairs[:, 1], "f": pairs[:, 0]}
    return make_entry(
        f"rate/{target}/r={replay:g}",
        law,
        points,
        what=f"learning rate of `{target}` over size at replay {replay:g}",
        question=1,
        options=options,
        grid=grid,
        group={"target": target, "replay_fraction": replay},
    )


def without_decrease(law: Law) -> Law:
    """Return the law for a target that asks for no decrease: f is 1 throughout."""
    return replace(law, distinct={"N": law.distinct["N"]})


def rate_points(rates: pd.DataFrame) -> Points:
    """Return the found rates; a run here is the probe of one base, its setting the model."""
    known = rates.dropna(subset=["median_learning_rate"]).drop_duplicates(
        ["model", "seed", "decrease"]
    )
    known = known.sort_values(["model", "seed", "decrease"])
    return Points(
        x={"N": known.n_params.to_numpy(dtype=float), "f": known.decrease.to_numpy(dtype=float)},
        y=known.median_learning_rate.to_numpy(dtype=float),
        run=known.groupby(["model", "seed"]).ngroup().to_numpy(),
        cell=known.groupby("model").ngroup().to_numpy(),
        n_missing=int(rates.median_learning_rate.isna().sum()),
    )


def rate_at(entry: Entry, n_params: float, decrease: float) -> tuple[float, Array]:
    """Return the fitted rate at a size and decrease, and its draws (R,)."""
    x = {"N": np.array([n_params]), "f": np.array([decrease])}
    return float(entry.fit.at(x)[0]), predict(entry.fit.law, entry.draws.theta, x)[:, 0]
