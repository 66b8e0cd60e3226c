"""Forgetting along runs: the curves over checkpoints, and the joint law on each clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core.clocks import CLOCKS, clock_readings
from palimpsest.core.laws import load
from palimpsest.core.laws.annealing import annealing_area
from palimpsest.core.laws.form import Law
from palimpsest.core.laws.points import Points
from palimpsest.core.laws.study.entry import Entry, Options, make_entry, rates_of
from palimpsest.core.plain_runs import SETTING, bare_runs
from palimpsest.core.run_losses import losses_along

WITHOUT_GAIN = {"G": 0.0, "h": 1.0}
FACTORS: Mapping[str, Mapping[str, float]] = {
    "replay": {"a": 0.0, "B_p": 1.0},
    "size": {"g": 0.0},
    "clock": {**WITHOUT_GAIN, "E": 1e100, "beta": 1.0},  # saturated from the first step on
}


def run_curves(runs: pd.DataFrame, held_out: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    """Return learning and forgetting at every checkpoint, with the reading of the five clocks."""
    losses = losses_along(held_out)
    keys = ["run", "n_params", "seed", "base_step", "n_steps", *SETTING]
    read = course_readings(steps).rename(columns={"step": "checkpoint_step"})
    curves = losses.merge(runs[keys], on="run").merge(
        read, on=["run", "checkpoint_step"], how="left"
    )
    return curves.assign(step=curves.checkpoint_step).sort_values(
        ["run", "checkpoint_step"], ignore_index=True
    )


def course_readings(steps: pd.DataFrame) -> pd.DataFrame:
    """Return the clocks after each step, the new tokens seen and the annealing area of the rates.

    At step 0 nothing has passed: all of them stand at 0.
    """
    ordered = steps.sort_values(["run", "step"])
    areas = ordered.groupby("run").learning_rate.transform(
        lambda rates: annealing_area(rates.to_numpy(dtype=float))
    )
    seen = ordered[["run", "step", "n_new_tokens"]].assign(annealing_area=areas)
    readings = clock_readings(ordered).merge(seen, on=["run", "step"], how="left")
    return readings.fillna({"n_new_tokens": 0, "annealing_area": 0.0})


def joint_fits(curves: pd.DataFrame, options: Options) -> list[Entry]:
    """Fit `joint` on each clock, with and without its gain term, then without each factor.

    The factors are left out of the variant that predicts unseen data best; of the smaller one
    where neither could be fitted.
    """
    if not options.wants("joint"):
        return []
    variants = {"whole": load("joint"), "without gain": load("joint").fix(**WITHOUT_GAIN)}
    entries: list[Entry] = []
    for clock in CLOCKS:
        points = curve_points(curves, clock)
        both = {
            name: joint_entry(law, points, clock=clock, variant=name, options=options)
            for name, law in variants.items()
        }
        entries += both.values()
        fitted = [name for name in both if both[name].fit.fitted]
        best = min(fitted, key=lambda name: both[name].error, default="without gain")
        for factor, held in FACTORS.items():
            law, name = variants[best].fix(**held), f"{best}, without {factor}"
            entries.append(joint_entry(law, points, clock=clock, variant=name, options=options))
    return entries


def joint_entry(law: Law, points: Points, *, clock: str, variant: str, options: Options) -> Entry:
    """Fit one variant of the joint law on one clock."""
    return make_entry(
        f"joint/{clock}/{variant}",
        law,
        points,
        what=f"forgetting over {clock}, replay and size, {variant}",
        question=14,
        options=options,
        group={"clock": clock, "variant": variant},
    )


def joint_ablations(entries: list[Entry]) -> list[dict[str, Any]]:
    """Return per clock and variant of `joint` its error on unseen data, and the baseline's."""
    rows = []
    for entry in entries:
        checks = entry.record["held_out"]
        line = [row["error"] for row in checks if row["form"] == "log-linear"]
        known = [error for error in line if error is not None]
        row = {**entry.record["group"], "status": entry.record["status"]}
        row |= {"reason": entry.record["reason"], "error_nats": entry.error if checks else None}
        row |= {"log_linear_error_nats": float(np.mean(known)) if known else None}
        rows.append(row)
    return rows


def curve_points(curves: pd.DataFrame, clock: str) -> Points:
    """Return forgetting along the bare runs, over one clock."""
    started = curves[(curves.checkpoint_step > 0) & ~(curves[clock] <= 0)]
    inputs = {"S": clock, "p": "replay_fraction", "N": "n_params"}
    return along(bare_runs(started), inputs, target="forgetting_nats")


def along(rows: pd.DataFrame, inputs: Mapping[str, str], *, target: str) -> Points:
    """Return the checkpoints of runs as points; rows without a number are left out."""
    usable = rows.dropna(subset=[*inputs.values(), target])
    return Points(
        x={symbol: usable[column].to_numpy(dtype=float) for symbol, column in inputs.items()},
        y=usable[target].to_numpy(dtype=float),
        run=pd.factorize(usable.run)[0] if len(usable) else np.empty(0, dtype=int),
        cell=usable.groupby(SETTING).ngroup().to_numpy(),
        n_missing=len(rows) - len(usable),
        groups=rates_of(usable),
    )
