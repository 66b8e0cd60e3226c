"""Forgetting along runs: the curves over checkpoints, and the joint law on each clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core.laws import load
from palimpsest.core.laws.form import Law
from palimpsest.core.laws.points import Points
from palimpsest.core.laws.study.entry import SETTING, Entry, Options, make_entry, plain_runs

CLOCKS = ("step", "sum_learning_rate", "sum_update_norm", "relative_drift", "sum_decrease")
WITHOUT_GAIN = {"G": 0.0, "h": 1.0}
FACTORS: Mapping[str, Mapping[str, float]] = {
    "replay": {"a": 0.0, "B_p": 1.0},
    "size": {"g": 0.0},
}


def run_curves(runs: pd.DataFrame, held_out: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    """Return learning and forgetting at every checkpoint, with the reading of the five clocks."""
    weighted = held_out.assign(total=held_out.loss_nats * held_out.n_tokens)
    sums = weighted.groupby(["run", "checkpoint_step", "corpus"])[["total", "n_tokens"]].sum()
    losses = (
        (sums.total / sums.n_tokens)
        .unstack("corpus")
        .reindex(columns=["new", "original"])
        .reset_index()
    )
    losses = losses.rename(columns={"new": "loss_new_nats", "original": "loss_original_nats"})
    start = losses[losses.checkpoint_step == 0].set_index("run")
    new, original = (
        losses.run.map(start[c]).astype(float) for c in ("loss_new_nats", "loss_original_nats")
    )
    losses["learning_nats"] = new - losses.loss_new_nats
    losses["forgetting_nats"] = losses.loss_original_nats - original
    keys = ["run", "n_params", "seed", *SETTING]
    read = clock_readings(steps).rename(columns={"step": "checkpoint_step"})
    curves = losses.merge(runs[keys], on="run").merge(
        read, on=["run", "checkpoint_step"], how="left"
    )
    return curves.assign(step=curves.checkpoint_step).sort_values(
        ["run", "checkpoint_step"], ignore_index=True
    )


def clock_readings(steps: pd.DataFrame) -> pd.DataFrame:
    """Return the clocks after each step: sums along the run, and the drift as it stands.

    A sum over steps of which one was not measured has no reading from there on.
    """
    ordered = steps.sort_values(["run", "step"])
    by_run = ordered.groupby("run")
    unmeasured = ordered.decrease_achieved.isna().groupby(ordered.run).cummax()
    return pd.DataFrame(
        {
            "run": ordered.run,
            "step": ordered.step,
            "sum_learning_rate": ordered.sum_learning_rate,
            "sum_update_norm": by_run.update_norm.cumsum(),
            "relative_drift": ordered.relative_drift,
            "sum_decrease": by_run.decrease_achieved.cumsum().mask(unmeasured),
        }
    )


def joint_fits(curves: pd.DataFrame, options: Options) -> list[Entry]:
    """Fit `joint` on each clock, with and without its gain term, then without its factors.

    The factors are left out on the clock, and from the variant, that predicts the last half of
    the runs best.
    """
    if not options.wants("joint"):
        return []
    variants = {"whole": load("joint"), "without gain": load("joint").fix(**WITHOUT_GAIN)}
    entries = [
        joint_entry(law, curves, clock=clock, variant=variant, options=options)
        for clock in CLOCKS
        for variant, law in variants.items()
    ]
    fitted = [entry for entry in entries if entry.fit.fitted]
    if not fitted:
        return entries
    best = min(fitted, key=lambda entry: entry.error)
    clock, variant = best.record["group"]["clock"], best.record["group"]["variant"]
    for factor, held in FACTORS.items():
        law, name = best.fit.law.fix(**held), f"{variant}, without {factor}"
        entries.append(joint_entry(law, curves, clock=clock, variant=name, options=options))
    return entries


def joint_entry(
    law: Law, curves: pd.DataFrame, *, clock: str, variant: str, options: Options
) -> Entry:
    """Fit one variant of the joint law on one clock."""
    points = curve_points(curves, clock)
    entry = make_entry(
        f"joint/{clock}/{variant}",
        law,
        points,
        what=f"forgetting over {clock}, replay and size, {variant}",
        question=14,
        options=options,
        group={"clock": clock, "variant": variant},
    )
    return entry


def curve_points(curves: pd.DataFrame, clock: str) -> Points:
    """Return forgetting along all single-phase runs that mix in new text."""
    mixed = plain_runs(curves[curves.checkpoint_step > 0])
    usable = mixed.dropna(subset=[clock, "forgetting_nats"])
    usable = usable[usable[clock] > 0]
    x: dict[str, Any] = {"S": clock, "p": "replay_fraction", "N": "n_params"}
    return Points(
        x={symbol: usable[column].to_numpy(dtype=float) for symbol, column in x.items()},
        y=usable.forgetting_nats.to_numpy(dtype=float),
        run=pd.factorize(usable.run)[0] if len(usable) else np.empty(0, dtype=int),
        cell=usable.groupby(SETTING).ngroup().to_numpy(),
        n_missing=len(mixed) - len(usable),
    )
