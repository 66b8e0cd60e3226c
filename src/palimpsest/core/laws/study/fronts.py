"""Pareto fronts over learning and forgetting (or collapse), and policies at equal learning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core import pareto
from palimpsest.core.laws.form import Array
from palimpsest.core.laws.intervals import interval
from palimpsest.core.laws.study.entry import Options
from palimpsest.core.pareto import FEWEST_CHECKPOINTS
from palimpsest.core.plain_runs import SETTING, mixed_runs
from palimpsest.core.seeds import over_seeds

Rows = list[dict[str, Any]]
FEWEST_FREE = 4  # degrees of freedom from which on a policy's own spread is taken
KEPT = ["run", "model", "checkpoint_step", "learning_nats", "forgetting_nats"]


def fronts(runs: pd.DataFrame, evals: pd.DataFrame, options: Options) -> Rows:
    """Return the fronts of final checkpoints per model, over forgetting and over each collapse.

    They are those of runs with the same new text: one pass over it, in time order.
    """
    mixed = mixed_runs(runs)
    first = mixed.assign(loss=mixed.forgetting_nats, loss_error=np.nan)
    planes: list[tuple[pd.DataFrame, str, dict[str, Any]]] = [(first, "forgetting_nats", {})]
    measured = evals.dropna(subset=["collapse", "collapse_stderr"])
    for (task, metric), rows in measured.groupby(["task", "metric"]):
        seen = rows[["run", "collapse", "collapse_stderr"]].set_axis(
            ["run", "loss", "loss_error"], axis=1
        )
        planes.append((mixed.merge(seen, on="run"), "collapse", {"task": task, "metric": metric}))
    return [row | names for plane, loss, names in planes for row in of_plane(plane, loss, options)]


def of_plane(plane: pd.DataFrame, loss: str, options: Options) -> Rows:
    """Return the front of each model in one plane, all scaled by the ranges of the study."""
    known = plane.dropna(subset=["learning_nats", "loss"])
    if known.empty:
        return []
    settings = known.groupby(["n_params", *SETTING], as_index=False).agg(
        learning_nats=("learning_nats", "mean"),
        loss=("loss", "mean"),
        loss_error=("loss_error", "mean"),
        n_seeds=("seed", "nunique"),
        n_new_tokens=("n_new_tokens", "median"),
    )
    scale = [pareto.spread(settings[axis].to_numpy()) for axis in ("learning_nats", "loss")]
    worst = float(settings.loss.max()) if len(settings) else 0.0
    draws = drawn(settings, known, options)
    rows = []
    for _, group in settings.groupby("n_params"):
        here = np.isin(np.arange(len(settings)), group.index)
        own = None if draws is None else (draws[0][:, here], draws[1][:, here])
        row: dict[str, Any] = {
            "model": str(group.model.iloc[0]),
            "loss": loss,
            "task": None,
            "metric": None,
        }
        row |= {"reference": [0.0, worst], "scale": scale}
        rows.append(row | front(group, own, worst=worst, scale=scale, loss=loss, options=options))
    return rows


def front(
    group: pd.DataFrame,
    draws: tuple[Array, Array] | None,
    *,
    worst: float,
    scale: list[float],
    loss: str,
    options: Options,
) -> dict[str, Any]:
    """Return one model's settings, members and knee with their probabilities, and hypervolume.

    The hypervolume is the share of the study's range of learning times that of its losses.
    """
    learning, lost = group.learning_nats.to_numpy(), group.loss.to_numpy()
    unit = scale[0] * scale[1]

    def area(points: tuple[Array, Array]) -> float:
        return pareto.hypervolume(*points, reference=(0.0, worst)) / unit

    known: dict[str, Any] = {"probability": np.nan, "knee_probability": np.nan}
    row: dict[str, Any] = {"hypervolume": area((learning, lost)), "status": "not decidable"}
    row |= {"hypervolume_low": None, "hypervolume_high": None}
    row |= {"reason": "no setting was run with a second seed: no interval"}
    if draws is not None:
        areas = np.array([area(pair) for pair in zip(*draws, strict=True)])
        low, high = interval(areas, confidence=options.confidence)
        row |= {"hypervolume_low": float(low), "hypervolume_high": float(high)}
        row |= {"status": "fitted", "reason": f"{len(group)} settings"}
        known = {
            "probability": pareto.membership_probability(*draws),
            "knee_probability": pareto.knee_probability(*draws),
        }
    return {**row, "settings": of_front(group.assign(**known), loss=loss).to_dict("records")}


def of_front(settings: pd.DataFrame, *, loss: str) -> pd.DataFrame:
    """Mark the settings that no other beats, and the knee among them."""
    learning, lost = settings.learning_nats.to_numpy(), settings.loss.to_numpy()
    at_knee = pareto.knee(learning, lost)
    marked = settings.assign(
        member=pareto.members(learning, lost),
        knee=np.arange(len(settings)) == (-1 if at_knee is None else at_knee),
    )
    return marked.drop(columns=["loss_error"]).rename(columns={"loss": loss})


def drawn(
    settings: pd.DataFrame, runs: pd.DataFrame, options: Options
) -> tuple[Array, Array] | None:
    """Draw both coordinates (R, m) as other seeds would have given them; None without replicates.

    Learning and forgetting of one run belong together: their common spread over seeds is drawn,
    as uncertain as its degrees of freedom leave it. It is the policy's own where that was repeated
    enough, since seeds of a rate beyond the edge lie apart by far more, else that of all policies.
    A collapse moves by its error over items too, which the seeds share: they meet the same items.
    """
    of_all = spread_over_seeds(runs)
    if of_all is None:
        return None
    random = np.random.default_rng(options.seed)
    kicks = np.empty((options.n_draws, len(settings), 2))
    for policy, places in settings.groupby("policy_label").indices.items():
        own = spread_over_seeds(runs[runs.policy_label == policy])
        root, n_free = own if own and own[1] >= FEWEST_FREE else of_all
        size = np.sqrt(n_free / random.chisquare(n_free, options.n_draws))[:, None, None]
        kicks[:, places] = size * (
            random.standard_normal((options.n_draws, len(places), 2)) @ root.T
        )
    kicks /= np.sqrt(settings.n_seeds.to_numpy())[:, None]
    of_items = settings.loss_error.to_numpy()
    if np.isfinite(of_items).any():
        kicks[..., 1] += of_items * random.standard_normal(kicks.shape[:2])
    learning, loss = (settings[axis].to_numpy() for axis in ("learning_nats", "loss"))
    return learning + kicks[..., 0], loss + kicks[..., 1]


def spread_over_seeds(runs: pd.DataFrame) -> tuple[Array, int] | None:
    """Return a root (2, 2) of the seeds' covariance of learning and loss, and its freedom."""
    axes = ["learning_nats", "loss"]
    away = (runs[axes] - runs.groupby(SETTING)[axes].transform("mean")).to_numpy()
    n_free = len(runs) - runs.groupby(SETTING).ngroups
    if n_free < 1 or not float((away[:, 0] ** 2).sum()) > 0:
        return None
    values, vectors = np.linalg.eigh(away.T @ away / n_free)
    return vectors * np.sqrt(np.clip(values, 0, None)), n_free


def checkpoint_front(curves: pd.DataFrame) -> Rows:
    """Return the front over all checkpoints per model: columns of `curves` and `member`."""
    rows: Rows = []
    mixed = curves[(curves.replay_fraction < 1) & (curves.checkpoint_step > 0)]
    for _, group in mixed.groupby("model"):
        marked = pareto.members(group.learning_nats.to_numpy(), group.forgetting_nats.to_numpy())
        records: Any = group.loc[marked, KEPT].to_dict("records")
        rows += records
    return rows


def equal_learning(curves: pd.DataFrame) -> Rows:
    """Compare each pair of policies of a model at one replay ratio at equal learning.

    Seeds that ran both are compared one by one. The spread of a pair's differences is its own
    from three seeds on, since seeds of a rate beyond the edge lie apart by far more; that of fewer
    is pooled over all pairs of policies.
    """
    rows: Rows = []
    gaps = []
    mixed = mixed_runs(curves)
    keys: Any
    for keys, group in mixed.groupby(["model", "replay_fraction"]):
        policies = sorted(group.policy_label.unique())
        for k, first in enumerate(policies):
            for second in policies[k + 1 :]:
                row = {"model": str(keys[0]), "replay_fraction": float(keys[1])}
                row |= {"first": first, "second": second, "place": len(rows)}
                found, reason = seed_by_seed(group, first, second)
                rows.append(row | {"n_seeds": len(found), "reason": reason} | joined(found))
                gaps += [{"place": row["place"], "seed": s, "gap": g[1].mean()} for s, g in found]
    return with_intervals(rows, pd.DataFrame(gaps, columns=["place", "seed", "gap"]))


def seed_by_seed(
    group: pd.DataFrame, first: str, second: str
) -> tuple[list[tuple[int, tuple[Array, Array]]], str]:
    """Return (seed, (learning, difference)) for each seed of both policies, and what is missing."""
    found, reason = [], "no seed ran both policies"
    for seed in sorted(group.seed.unique()):
        ours = group[group.seed == seed]
        sides = [ours[ours.policy_label == policy] for policy in (first, second)]
        if min(len(side) for side in sides) == 0:
            continue
        if min(int((side.checkpoint_step > 0).sum()) for side in sides) < FEWEST_CHECKPOINTS:
            reason = (
                f"fewer than {FEWEST_CHECKPOINTS} checkpoints beyond θ₀ in one of the runs; "
                "ask for checkpoints: {kind: log, count: 6}"
            )
            continue
        values, losses = pareto.at_equal_learning([curve_of(side) for side in sides])
        reason = "no common range of learning"
        if len(values):
            found.append((int(seed), (values, losses[1] - losses[0])))
    return found, "" if found else reason


def joined(found: list[tuple[int, tuple[Array, Array]]]) -> dict[str, Any]:
    """Return the first seed's common values of learning, and the mean difference at each place."""
    if not found:
        return {"learning_nats": [], "difference_nats": []}
    return {
        "learning_nats": found[0][1][0].tolist(),
        "difference_nats": np.mean([gap for _, (_, gap) in found], axis=0).tolist(),
    }


def with_intervals(rows: Rows, gaps: pd.DataFrame) -> Rows:
    """Add mean, stderr, n_free, low, high and answer to the rows that have differences."""
    cells = over_seeds(gaps, "gap", by=["place"], own=True).set_index("place")
    nothing = {"mean": None, "stderr": None, "n_free": 0, "low": None, "high": None}
    done = []
    for row in rows:
        place = row.pop("place")
        known = cells.loc[place].to_dict() if place in cells.index else {}
        row = row | {name: known.get(name, empty) for name, empty in nothing.items()}
        if known and not np.isfinite(known["low"]):
            row["reason"] = "no pair of policies was run with a second seed: no interval"
        done.append(row | {"answer": answer(row["low"], row["high"])})
    return done


def answer(low: float | None, high: float | None) -> str:
    """Say whether the second policy forgets more or less than the first."""
    if low is None or high is None or not np.isfinite(low) or low <= 0 <= high:
        return "not decidable"
    return "more" if low > 0 else "less"


def curve_of(run: pd.DataFrame) -> tuple[Array, Array]:
    """Return (learning, forgetting) along one run, in the order of its checkpoints."""
    ordered = run.sort_values("checkpoint_step")
    return ordered.learning_nats.to_numpy(), ordered.forgetting_nats.to_numpy()
