"""Question 12: does anything beside mixing old text in forget less, at equal learning?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core.answers.answer import SHARED, Answer, Question, Table, Verdict, any_of, every
from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import between, nats, percent
from palimpsest.core.pareto import FEWEST_CHECKPOINTS, first_crossings
from palimpsest.core.run_losses import losses_along
from palimpsest.core.seeds import over_seeds

PROTECT = Question(
    12,
    words="Do EWC, consolidation (replay only, and pruning the drift back towards θ₀) or "
    "interpolation with θ₀ beat plain replay?",
    asked="Does another protection forget less than plain replay at equal learning, by more than "
    "0.01 nats at every size?",
    rule="Plain replay's forgetting at the learning of the protected run (interpolated over its "
    "replay ratios, same size, seed and policy) minus the protected run's. Protected runs beyond "
    "the range of plain replay cannot be compared. Spread over seeds pooled. A protection wins "
    "when its 95 % interval lies above 0.01 nats at every size at which it was run (a size that "
    "cannot be compared leaves that open), and does not when one lies below "
    f"{SHARED}. Yes when one wins (they share the 5 %), no when none does.",
    lines="""\
replay:
  model: {sizes}
  seed: [0, 1, 2]
  replay_fraction: [0.0, 0.25, 0.5, 0.75]
consolidation:
  model: {sizes}
  seed: [0, 1, 2]
  phases:
    - {replay_fraction: 0.0}
    - {replay_fraction: 1.0}
""",
    figures=("protections",),
)
SMALL_NATS = 0.01
METHODS = {
    "ewc": "EWC",
    "consolidation": "consolidation by replay only",
    "prune_drift": "pruned drift",
    "interpolate": "interpolation with θ₀",
}
PLAIN = "plain training"
APART = "not comparable"
OWN = "–"  # a method is not compared with itself
BY = ["method", "model", "n_params", "policy"]
EACH = "Each method at equal learning"
EACH_NOTE = (
    "Means over seeds with their 95 % intervals, the spread pooled over the study. Forgets less "
    "than: what plain training without replay (interpolated along its own checkpoints), and plain "
    "replay (interpolated over its ratios), forget at the learning of the row, minus what the row "
    "forgets, seed by seed; positive: the row forgets less. Not comparable: it learns more or less "
    f"than any of them, or plain training kept fewer than {FEWEST_CHECKPOINTS} checkpoints beyond "
    "θ₀. Of several strengths the row is the one with the largest mean gain on plain replay, and "
    "where none can be compared, on plain training: the best of several looks better than it is."
)
HEADER = (
    *("size", "policy", "method", "learning, nats", "forgetting, nats"),
    *("forgets less than plain training, nats", "than plain replay, nats", "seeds"),
)


def protections(frames: Frames) -> Answer:
    """Answer question 12 from protected runs beside plain replay of the same size and seed."""
    runs = compared(frames)
    protected = runs[runs.kind != "plain"]
    if protected.empty:
        missing = "run with EWC, consolidation, pruned drift or interpolation"
        return PROTECT.not_run(missing, frames)
    cells = gain_cells(protected)
    known = cells.dropna(subset=["mean"])
    claims = cells.groupby("method")
    verdicts = [_wins(ours, among=len(claims)) for _, ours in claims]
    n_compared = int(protected.over_replay.notna().sum())
    answer = PROTECT.answered(
        any_of(verdicts),
        sentence=f"{n_compared} of {len(protected)} protected runs could be compared with plain "
        "replay at equal learning; the table says what each protection gains.",
        value="; ".join(
            f"{row.method}, {row.model}: {nats(row.mean, signed=True)} nats" for row in each(known)
        )
        or "–",
        interval="; ".join(between(row.low, row.high) for row in each(known)),
        header=("protection", "size", "forgets less by, nats", "interval", "seeds"),
        rows=tuple(_gain_row(row) for row in each(cells)),
    )
    return replace(answer, beside=(Table(EACH, EACH_NOTE, HEADER, _method_rows(runs), ""),))


def _wins(cells: pd.DataFrame, *, among: int) -> Verdict:
    """Decide on one protection: only one that could be compared at every size can win."""
    known = cells.dropna(subset=["mean"])
    verdict = every(known, SMALL_NATS, among=among)
    return "not decidable" if verdict == "yes" and len(known) < len(cells) else verdict


def _gain_row(row: Any) -> tuple[str, ...]:
    if np.isnan(row.mean):
        return row.method, row.model, APART, "no interval", "0"
    gain = nats(row.mean, signed=True)
    return row.method, row.model, gain, between(row.low, row.high), str(int(row.n_seeds))


def gain_cells(protected: pd.DataFrame) -> pd.DataFrame:
    """Return each protection's gain on plain replay at every size where it was run; NaN: apart.

    kind, strength, method, model, n_params beside mean, low, high, stderr, n_free, n_seeds.
    """
    keys = ["method", "model", "n_params"]
    gains = protected.groupby([*keys, "seed"])[["over_replay"]].mean().reset_index()
    names = protected.drop_duplicates(keys)[["kind", "method_strength", *keys]]
    cells = names.merge(over_seeds(gains, "over_replay", by=keys), on=keys, how="left")
    return cells.sort_values(["kind", "method_strength", "n_params"], ignore_index=True)


def compared(frames: Frames) -> pd.DataFrame:
    """Return protected runs, and plain ones of their policies, with what they gain.

    over_replay, over_training: forgetting of plain replay, and of plain training, at the same
    learning minus the run's own; NaN where there is nothing to compare with. `kind` is the method
    as params.yaml names it, `method` its name for people.
    """
    policy = frames.runs.policy_label.str.split(", ").str[0]
    runs = frames.runs.assign(kind=frames.runs.method, policy=policy)
    protected = runs[runs.kind != "plain"]
    plain = runs[runs.run.isin(frames.plain_runs.run) & (runs.policy_label == policy)]
    plain = plain[(plain.replay_fraction < 1) & plain.policy.isin(protected.policy)]
    both = pd.concat([plain, protected], ignore_index=True)
    courses = _courses(frames, plain[plain.replay_fraction == 0])
    return both.assign(
        method=[_name(run) for run in each(both)],
        over_replay=[_over_replay(run, plain) for run in each(both)],
        over_training=[_over_training(run, courses) for run in each(both)],
    )


def _name(run: Any) -> str:
    if run.kind == "plain":
        return f"plain replay, {percent(run.replay_fraction)}" if run.replay_fraction else PLAIN
    strength = "" if pd.isna(run.method_strength) else f" {run.method_strength:g}"
    return METHODS.get(run.kind, run.kind) + strength


def _over_replay(run: Any, plain: pd.DataFrame) -> float:
    """Return a protected run's gain on the mixtures of the same size, policy and seed."""
    if run.kind == "plain":
        return float("nan")
    ours = plain[(plain.model == run.model) & (plain.seed == run.seed)]
    ours = ours[ours.policy == run.policy]
    curve = ours.groupby("replay_fraction")[["learning_nats", "forgetting_nats"]].mean()
    curve = curve.sort_values("learning_nats")
    learning = curve.learning_nats.to_numpy()
    if len(curve) < 2 or not learning[0] <= run.learning_nats <= learning[-1]:
        return float("nan")
    expected = np.interp(run.learning_nats, learning, curve.forgetting_nats)
    return float(expected - run.forgetting_nats)


Course = tuple[np.ndarray, np.ndarray]


def _courses(frames: Frames, plain: pd.DataFrame) -> dict[tuple[Any, ...], Course]:
    """Return learning and forgetting along plain training, by size, policy and seed."""
    losses = losses_along(frames.held_out[frames.held_out.run.isin(plain.run)])
    courses = {}
    for run in each(plain):
        ours = losses[losses.run == run.run].sort_values("checkpoint_step")
        if (ours.checkpoint_step > 0).sum() >= FEWEST_CHECKPOINTS:
            course = ours.learning_nats.to_numpy(), ours.forgetting_nats.to_numpy()
            courses[run.model, run.policy, run.seed] = course
    return courses


def _over_training(run: Any, courses: dict[tuple[Any, ...], Course]) -> float:
    """Return a run's gain on plain training when that had learned as much for the first time."""
    course = courses.get((run.model, run.policy, run.seed))
    if course is None or (run.kind == "plain" and run.replay_fraction == 0):
        return float("nan")
    learning, forgetting = course
    if not learning[0] <= run.learning_nats <= learning.max():
        return float("nan")
    expected = first_crossings(learning, forgetting, values=np.array([run.learning_nats]))
    return float(expected[0] - run.forgetting_nats)


def _method_rows(runs: pd.DataFrame) -> tuple[tuple[str, ...], ...]:
    """Return the table's rows: sizes upwards, plain training, mixtures, the best of the others."""
    values = ("learning_nats", "forgetting_nats", "over_training", "over_replay")
    cells = {name: over_seeds(runs, name, by=BY).set_index(BY) for name in values}
    ranked = runs.drop_duplicates(BY).assign(
        place=lambda rows: rows.kind.map({kind: k for k, kind in enumerate(["plain", *METHODS])})
    )
    for name in ("over_replay", "over_training"):
        ranked = ranked.join(cells[name]["mean"].rename(f"best_{name}"), on=BY)
    best = ranked.sort_values(["best_over_replay", "best_over_training"], ascending=False)
    kept = best[(best.kind == "plain") | ~best.duplicated(["kind", "model", "policy"])]
    ordered = kept.sort_values(["n_params", "model", "policy", "place", "replay_fraction"])
    return tuple(_method_row(row, cells) for row in each(ordered))


def _method_row(row: Any, cells: dict[str, pd.DataFrame]) -> tuple[str, ...]:
    key = tuple(getattr(row, name) for name in BY)
    forgot = cells["forgetting_nats"].loc[key]
    n_seeds = int(forgot.n_seeds)
    itself = row.kind == "plain"
    return (
        *(row.model, row.policy, row.method),
        nats(cells["learning_nats"].loc[key, "mean"]),
        f"{nats(forgot['mean'], signed=True)} ({between(forgot.low, forgot.high)})",
        OWN if row.method == PLAIN else _gain(cells["over_training"], key, n_seeds),
        OWN if itself else _gain(cells["over_replay"], key, n_seeds),
        str(n_seeds),
    )


def _gain(cells: pd.DataFrame, key: tuple[Any, ...], n_seeds: int) -> str:
    """Return a gain with its interval, and of how many seeds it is if not of all."""
    if key not in cells.index:
        return APART
    found = cells.loc[key]
    few = f", {int(found.n_seeds)} of {n_seeds} seeds" if found.n_seeds < n_seeds else ""
    return f"{nats(found['mean'], signed=True)} ({between(found.low, found.high)}){few}"
