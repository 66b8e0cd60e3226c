"""Questions 4 and 10: a fixed rate against following the decrease, and the Pareto front's knee."""

from __future__ import annotations

import numpy as np
import pandas as pd

from palimpsest.core.answers.answer import Answer, Question, Verdict
from palimpsest.core.answers.frames import Frames
from palimpsest.core.answers.front import fronts
from palimpsest.core.answers.numbers import between, nats, percent
from palimpsest.core.answers.seeds import mean_interval
from palimpsest.core.pareto import first_crossings

SAME = Question(
    4,
    words="Is a fixed low rate the same as following a loss decrease? (forgetting at equal learning)",
    asked="Is forgetting at equal learning the same under a fixed rate and under a followed decrease?",
    rule="Forgetting of the fixed rate minus that of the followed decrease, interpolated along each "
    "run at the largest learning both reach; pairs of the same size, seed and replay. Yes when the "
    "95 % interval lies within the tolerance, no when it lies outside, else not decidable.",
    figures=("tradeoff",),
)
KNEE = Question(
    10,
    words="Where is the Pareto front, and which setting is its knee?",
    asked="Is the knee of the front at the same replay fraction for every size?",
    rule="Final checkpoints (means over seeds) that no other beats on both learning and forgetting, "
    "per size; the knee is the farthest from the front's chord, axes scaled by the ranges of the size's settings. "
    "Not decidable with a front of fewer than three settings at some size.",
    figures=("tradeoff",),
)
FIRST_SAME = ("model", "seed", "replay_fraction")


def same(frames: Frames) -> Answer:
    """Answer question 4 from the runs' checkpoints."""
    runs = frames.plain_runs()
    fixed, follow = runs[runs.policy == "fixed"], runs[runs.policy == "follow"]
    pairs = fixed.merge(follow, on=list(FIRST_SAME), suffixes=("_fixed", "_follow"))
    if pairs.empty:
        return SAME.not_run("pair of a fixed rate and a followed decrease at one setting")
    gaps = [
        gap_at_equal_learning(path(frames, pair.run_fixed), path(frames, pair.run_follow))
        for pair in pairs.itertuples()
    ]
    mean, low, high = mean_interval(gaps)
    return SAME.answered(
        _same(low, high, frames.tolerance_nats()),
        sentence=f"At equal learning the fixed rate forgets {nats(mean, signed=True)} nats more than "
        f"the followed decrease, over {int(np.isfinite(gaps).sum())} pairs with a common range.",
        value=f"{nats(mean, signed=True)} nats",
        interval=between(low, high),
    )


def path(frames: Frames, run: str) -> pd.DataFrame:
    """Return a run's checkpoints: learning_nats and forgetting_nats against the base, by step."""
    ours = frames.held_out[frames.held_out.run == run]
    whole = ours[ours.domain == "all"]
    ours = whole if set(whole.corpus) == {"new", "original"} else ours
    sums = ours.assign(sum_nats=ours.loss_nats * ours.n_tokens)
    grouped = sums.groupby(["checkpoint_step", "corpus"])[["sum_nats", "n_tokens"]].sum()
    losses = (grouped.sum_nats / grouped.n_tokens).unstack()
    return pd.DataFrame(
        {
            "learning_nats": losses["new"].iloc[0] - losses["new"],
            "forgetting_nats": losses["original"] - losses["original"].iloc[0],
        }
    )


def gap_at_equal_learning(first: pd.DataFrame, second: pd.DataFrame) -> float:
    """Return forgetting of `first` minus `second` at the largest common learning; NaN if none."""
    common = float(min(first.learning_nats.max(), second.learning_nats.max()))
    if common <= 0:
        return float("nan")
    ends = [
        first_crossings(
            run.learning_nats.to_numpy(),
            run.forgetting_nats.to_numpy(),
            values=np.array([common]),
        )
        for run in (first, second)
    ]
    return float(ends[0][0] - ends[1][0])


def knee(frames: Frames) -> Answer:
    """Answer question 10 from the final checkpoints of each size."""
    table = fronts(frames)
    mixed = table[table.replay_fraction < 1]
    if mixed.empty:
        return KNEE.not_run("finished run")
    knees = table[table.knee]
    n_front = table[table.on_front].groupby("model").size()
    verdict: Verdict = "yes" if knees.replay_fraction.nunique() == 1 else "no"
    if len(knees) < table.model.nunique():
        verdict = "not decidable"
    return KNEE.answered(
        verdict,
        sentence="Settings on the front: "
        + ", ".join(f"{model} {n}" for model, n in n_front.reindex(frames.sizes()).dropna().items())
        + ".",
        value="; ".join(
            f"{row.model}: {row.policy_label}, {percent(row.replay_fraction)}"
            for row in knees.itertuples()
        )
        or "–",
        interval="from means over seeds",
        header=("size", "knee", "replay", "learning, nats", "forgetting, nats"),
        rows=tuple(
            (
                row.model,
                row.policy_label,
                percent(row.replay_fraction),
                nats(row.learning_nats),
                nats(row.forgetting_nats, signed=True),
            )
            for row in knees.itertuples()
        ),
    )


def _same(low: float, high: float, tolerance: float) -> Verdict:
    if not np.isfinite([low, high]).all():
        return "not decidable"
    if max(abs(low), abs(high)) <= tolerance:
        return "yes"
    return "no" if low > tolerance or high < -tolerance else "not decidable"
