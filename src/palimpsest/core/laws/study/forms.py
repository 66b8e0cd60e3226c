"""The published forms on this study's own tables, wherever the columns that they need exist.

Each is tried on the design that it was made for; where the design does not support it, its entry
says what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from palimpsest.core import pareto
from palimpsest.core.laws import load
from palimpsest.core.laws.form import Law
from palimpsest.core.laws.points import Points
from palimpsest.core.laws.study.curves import along
from palimpsest.core.laws.study.entry import Entry, Options, make_entry
from palimpsest.core.plain_runs import SETTING, bare_runs

LEAST_CHECKPOINTS = 3  # of a run, below which it shows no curve
KEYS = ["run", "model", "n_params", "seed"]


def form_fits(
    curves: pd.DataFrame, runs: pd.DataFrame, bases: pd.DataFrame, options: Options
) -> list[Entry]:
    """Fit every published form that was asked for; only those are loaded."""
    steps = along_runs(curves)
    tables: dict[str, tuple[Callable[..., list[Entry]], pd.DataFrame]] = {
        "chinchilla": (pretraining, bases),
        "repeated-data": (repeats, runs),
        "injection": (injected, steps),
        "d-cpt": (shares, steps),
        "cpt-dynamics": (dynamics, steps),
        "cmr-critical": (critical_shares, steps),
    }
    wanted = {name: table for name, table in tables.items() if options.wants(name)}
    return [
        entry
        for name, (make, table) in wanted.items()
        for entry in make(load(name), table, options)
    ]


def along_runs(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the checkpoints of the bare runs that have enough of them to show a curve."""
    mixed = bare_runs(curves[curves.checkpoint_step > 0])
    return mixed[mixed.groupby("run").run.transform("size") >= LEAST_CHECKPOINTS]


def pretraining(law: Law, bases: pd.DataFrame, options: Options) -> list[Entry]:
    """Fit `chinchilla` to the original loss of all base checkpoints over size and tokens."""
    named = bases.assign(
        run=bases.model.astype(str) + "/" + bases.seed.astype(str),
        **dict.fromkeys(set(SETTING) - {"model"}, ""),
    )
    points = along(named, {"N": "n_params", "D": "n_tokens"}, target="loss_original_nats")
    what = "loss on the original domain of the bases over size and tokens"
    return [entry("base loss/chinchilla", law, points, what, 13, options)]


def repeats(law: Law, runs: pd.DataFrame, options: Options) -> list[Entry]:
    """Fit `repeated-data` to the loss on new text over size, unique tokens and passes."""
    alone = (runs.replay_fraction == 0) & (runs.n_phases == 1)
    plain = runs[alone & (runs.order == "time") & (runs.stream == "chunks")]
    passes = plain.repeats * plain.epochs
    counted = plain.assign(n_again=passes - 1, n_unique_tokens=plain.n_new_tokens / passes)
    levels = counted.groupby("policy_label").n_again.agg(["nunique", "size"])
    fullest = levels.sort_values(["nunique", "size"]).index[-1:]
    own = counted[counted.policy_label.isin(fullest)]
    inputs = {"N": "n_params", "U": "n_unique_tokens", "R": "n_again"}
    points = along(own, inputs, target="loss_new_nats")
    what = "loss on new text over size, unique tokens and passes"
    return [entry("repeats/repeated-data", law, points, what, 8, options)]


def injected(law: Law, steps: pd.DataFrame, options: Options) -> list[Entry]:
    """Fit `injection` to forgetting over new tokens, replay and size."""
    inputs = {"T": "n_new_tokens", "p": "replay_fraction", "N": "n_params"}
    points = along(steps, inputs, target="forgetting_nats")
    what = "forgetting over new tokens, replay and size"
    return [entry("forgetting over tokens/injection", law, points, what, 2, options)]


def shares(law: Law, steps: pd.DataFrame, options: Options) -> list[Entry]:
    """Fit `d-cpt` to the loss of each domain over size, new tokens and the domain's share."""
    inputs = {"N": "n_params", "T": "n_new_tokens", "q": "share"}
    found = []
    for corpus in ("new", "original"):
        share = 1 - steps.replay_fraction if corpus == "new" else steps.replay_fraction
        points = along(steps.assign(share=share), inputs, target=f"loss_{corpus}_nats")
        what = f"loss on {corpus} text over size, new tokens and its share"
        found.append(entry(f"{corpus} loss/d-cpt", law, points, what, 3, options))
    return found


def dynamics(law: Law, steps: pd.DataFrame, options: Options) -> list[Entry]:
    """Fit `cpt-dynamics` to the loss curves of each size, on new and on original text."""
    inputs = {"S": "sum_learning_rate", "S2": "annealing_area", "p": "replay_fraction"}
    found = []
    for model, rows in by_model(steps):
        for corpus in ("new", "original"):
            points = along(rows, inputs, target=f"loss_{corpus}_nats")
            form = annealed(law, points)
            what = f"loss curve on {corpus} text over the sum of rates, {model}"
            name = f"{corpus} loss curve/cpt-dynamics/{model}"
            found.append(entry(name, form, points, what, 14, options, model=model))
    return found


def annealed(law: Law, points: Points) -> Law:
    """Return the law without its annealing term where every rate was constant."""
    if len(points) == 0 or np.any(points.x["S2"] != 0):
        return law
    needed = {symbol: n for symbol, n in law.distinct.items() if symbol != "S2"}
    return replace(law.fix(C=0.0), distinct=needed)


def critical_shares(law: Law, steps: pd.DataFrame, options: Options) -> list[Entry]:
    """Fit `cmr-critical` to the largest share of new text within tolerance, over new tokens."""
    found = []
    for model, rows in by_model(steps):
        table = largest_shares(rows, tolerance=options.tolerance_nats)
        points = along(table, {"T": "n_new_tokens"}, target="largest_share")
        what = f"largest share of new text that keeps forgetting in tolerance, {model}"
        name = f"critical share/cmr-critical/{model}"
        found.append(entry(name, law, points, what, 2, options, model=model))
    return found


def largest_shares(rows: pd.DataFrame, *, tolerance: float) -> pd.DataFrame:
    """Return 1 - p* at each checkpoint of each policy and seed, p* between measured ratios.

    NaN where no measured ratio suffices, or where none is needed: the share is then not a limit.
    """
    way = [name for name in SETTING if name != "replay_fraction"]
    found = []
    for _, group in rows.groupby([*way, "seed", "checkpoint_step"]):
        ordered = group.sort_values("replay_fraction").drop_duplicates("replay_fraction")
        ratios, lost = ordered.replay_fraction.to_numpy(), ordered.forgetting_nats.to_numpy()
        ratio = float(pareto.critical_ratio(ratios, lost[None], tolerance=tolerance)[0])
        limit = 1 - ratio if ratios[0] < ratio < np.inf else np.nan
        first = ordered.iloc[0]
        row = {name: first[name] for name in (*SETTING, "seed")}
        row |= {"run": f"{first.policy_label}/{first.seed}", "largest_share": limit}
        found.append(row | {"replay_fraction": 0.0, "n_new_tokens": ordered.n_new_tokens.median()})
    columns = [*SETTING, "seed", "run", "largest_share", "n_new_tokens"]
    return pd.DataFrame(found, columns=columns)


def by_model(steps: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return (model, its rows), smallest model first."""
    sizes = steps.groupby("model").n_params.first().sort_values()
    return [(str(model), steps[steps.model == model]) for model in sizes.index]


def entry(
    name: str,
    law: Law,
    points: Points,
    what: str,
    question: int,
    options: Options,
    *,
    model: str | None = None,
) -> Entry:
    """Return the entry of one form; of one size where a model is named."""
    group = {"model": model} if model else {}
    return make_entry(name, law, points, what=what, question=question, options=options, group=group)
