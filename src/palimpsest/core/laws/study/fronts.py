"""Pareto fronts over learning and forgetting (or collapse), and policies at equal learning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core import pareto
from palimpsest.core.laws.form import Array
from palimpsest.core.laws.intervals import Noise, interval
from palimpsest.core.laws.study.entry import SETTING, Options, plain_runs, pooled_noise

Rows = list[dict[str, Any]]


def fronts(runs: pd.DataFrame, evals: pd.DataFrame, options: Options) -> list[dict[str, Any]]:
    """Return the fronts of final checkpoints per model, over forgetting and over each collapse."""
    mixed = runs[runs.replay_fraction < 1]
    found = []
    for model, group in mixed.groupby("model"):
        found.append(front(str(model), group, "forgetting_nats", runs=runs, options=options))
    for task, results in evals.groupby("task"):
        named = results[["run", "metric", "collapse"]].dropna()
        first = named[named.metric == named.metric.min()] if len(named) else named
        merged = mixed.merge(first[["run", "collapse"]], on="run")
        for model, group in merged.groupby("model"):
            row = front(str(model), group, "collapse", runs=merged, options=options)
            found.append({**row, "task": str(task)})
    return found


def front(
    model: str, group: pd.DataFrame, loss: str, *, runs: pd.DataFrame, options: Options
) -> dict[str, Any]:
    """Return one front: its settings (means over seeds), members, knee and hypervolume."""
    settings = group.groupby(SETTING, as_index=False).agg(
        learning_nats=("learning_nats", "mean"), loss=(loss, "mean"), n_seeds=("seed", "nunique")
    )
    learning, lost = settings.learning_nats.to_numpy(), settings.loss.to_numpy()
    noise = pooled_noise(runs, "learning_nats"), pooled_noise(runs, loss)
    reference = (0.0, float(np.nanmax(lost)) if np.isfinite(lost).any() else 0.0)
    at_knee = pareto.knee(learning, lost)
    row: dict[str, Any] = {"model": model, "loss": loss, "task": None, "reference": list(reference)}
    row |= {"hypervolume": pareto.hypervolume(learning, lost, reference=reference)}
    row |= {"hypervolume_low": None, "hypervolume_high": None, "status": "not decidable"}
    row |= {"reason": "no setting was run with a second seed: no interval"}
    probability = np.full(len(settings), np.nan)
    if noise[0] is not None and noise[1] is not None:
        draws = jittered(settings, (noise[0], noise[1]), options)
        probability = pareto.membership_probability(*draws)
        areas = np.array(
            [pareto.hypervolume(*pair, reference=reference) for pair in zip(*draws, strict=True)]
        )
        low, high = interval(areas, confidence=options.confidence)
        row |= {"hypervolume_low": float(low), "hypervolume_high": float(high)}
        row |= {"status": "fitted", "reason": f"{len(settings)} settings"}
    rows = settings.assign(
        member=pareto.members(learning, lost),
        probability=probability,
        knee=np.arange(len(settings)) == (-1 if at_knee is None else at_knee),
    )
    return {**row, "settings": rows.rename(columns={"loss": loss}).to_dict("records")}


def jittered(
    settings: pd.DataFrame, noise: tuple[Noise, Noise], options: Options
) -> tuple[Array, Array]:
    """Draw both coordinates (R, m) anew with the noise of runs, less where seeds were averaged."""
    random = np.random.default_rng(options.seed)
    shape = (options.n_draws, len(settings))
    moved = []
    for column, each in zip(("learning_nats", "loss"), noise, strict=True):
        size = each.sigma / np.sqrt(settings.n_seeds.to_numpy())
        moved.append(settings[column].to_numpy() + size * random.standard_t(each.n_free, shape))
    return moved[0], moved[1]


def checkpoint_front(curves: pd.DataFrame) -> Rows:
    """Return the front over all checkpoints per model: columns of `curves` and `member`."""
    rows: Rows = []
    mixed = curves[(curves.replay_fraction < 1) & (curves.checkpoint_step > 0)]
    for _, group in mixed.groupby("model"):
        marked = pareto.members(group.learning_nats.to_numpy(), group.forgetting_nats.to_numpy())
        columns = ["run", "model", "checkpoint_step", "learning_nats", "forgetting_nats"]
        records: Any = group.loc[marked, columns].to_dict("records")
        rows += records
    return rows


def equal_learning(curves: pd.DataFrame, runs: pd.DataFrame, options: Options) -> Rows:
    """Compare each pair of policies of a model at one replay ratio at equal learning."""
    rows: Rows = []
    noise = pooled_noise(runs, "forgetting_nats")
    mixed = plain_runs(curves)
    keys: Any
    for keys, group in mixed.groupby(["model", "replay_fraction"]):
        model, ratio = keys
        policies = sorted(group.policy_label.unique())
        for k, first in enumerate(policies):
            for second in policies[k + 1 :]:
                pair = (group[group.policy_label == first], group[group.policy_label == second])
                row = {"model": str(model), "replay_fraction": float(ratio)}
                row |= {"first": first, "second": second}
                rows.append(row | difference(*pair, noise=noise, options=options))
    return rows


def difference(
    first: pd.DataFrame, second: pd.DataFrame, *, noise: Noise | None, options: Options
) -> dict[str, Any]:
    """Return forgetting of the second policy minus the first's at the common learning values."""
    sides = [runs_of(first), runs_of(second)]
    values, losses = pareto.at_equal_learning([*sides[0], *sides[1]])
    n_first, n_second = len(sides[0]), len(sides[1])
    empty: dict[str, Any] = {
        "learning_nats": [],
        "difference_nats": [],
        "mean": None,
        "low": None,
        "high": None,
    }
    if not len(values):
        return empty | {"answer": "not decidable", "reason": "no common range of learning"}
    apart = losses[n_first:].mean(axis=0) - losses[:n_first].mean(axis=0)
    mean = float(apart.mean())
    row: dict[str, Any] = {
        "learning_nats": values.tolist(),
        "difference_nats": apart.tolist(),
        "mean": mean,
    }
    if noise is None:
        why = "no setting was run with a second seed: no interval"
        return empty | row | {"answer": "not decidable", "reason": why}
    random = np.random.default_rng(options.seed)
    size = noise.sigma * np.sqrt(1 / n_first + 1 / n_second)
    draws = mean + size * random.standard_t(noise.n_free, options.n_draws)
    low, high = (float(end) for end in interval(draws, confidence=options.confidence))
    answer = "not decidable" if low <= 0 <= high else ("more" if low > 0 else "less")
    return row | {"low": low, "high": high, "answer": answer, "reason": ""}


def runs_of(curves: pd.DataFrame) -> list[tuple[Array, Array]]:
    """Return (learning, forgetting) along each run, in the order of its checkpoints."""
    ordered = curves.sort_values("checkpoint_step")
    return [
        (run.learning_nats.to_numpy(), run.forgetting_nats.to_numpy())
        for _, run in ordered.groupby("run")
    ]
