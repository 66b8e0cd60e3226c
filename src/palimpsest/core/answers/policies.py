"""Questions 4 and 10: a fixed rate against following the decrease, and the Pareto front's knee."""

from __future__ import annotations

import numpy as np

from palimpsest.core.answers.answer import Answer, Question, Verdict
from palimpsest.core.answers.fitted import Fitted, triple
from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.front import fronts, share_of_equal_knees
from palimpsest.core.answers.numbers import between, nats, percent

SAME = Question(
    4,
    words="Is a fixed low rate the same as following a loss decrease? (forgetting at equal "
    "learning)",
    asked="Is forgetting at equal learning the same under a fixed rate and under a followed "
    "decrease?",
    rule="Forgetting under the followed decrease minus that under the fixed rate, interpolated "
    "along the runs at common values of learning, per size and replay. Yes when every 95 % "
    "interval lies within the tolerance, no when one lies outside, else not decidable.",
    figures=("tradeoff",),
)
RARE = 0.05
KNEE = Question(
    10,
    words="Where is the Pareto front, and which setting is its knee?",
    asked="Is the knee of the front at the same replay fraction for every size?",
    rule="Final checkpoints (means over seeds) that no other beats on both learning and "
    "forgetting, per size; the knee is the farthest from the front's chord, axes scaled by the "
    "ranges of the size's settings. Yes when the knees agree in at least 95 % of draws of the "
    "means within their spread over seeds, no in at most 5 %; a front of fewer than three "
    "settings has no knee.",
    figures=("tradeoff",),
)


def same(frames: Frames) -> Answer:
    """Answer question 4 from the fits' comparison of policies at equal learning."""
    kinds = dict(zip(frames.runs.policy_label, frames.runs.policy, strict=True))
    pairs = [
        row
        for row in frames.fits["equal_learning"]
        if {kinds.get(row["first"]), kinds.get(row["second"])} == {"fixed", "follow"}
    ]
    if not pairs:
        return SAME.not_run("run of policy follow beside one at a fixed rate")
    known = [_followed_minus_fixed(row, kinds) for row in pairs if row["mean"] is not None]
    verdict = _same([gap for _, gap in known], frames.tolerance_nats)
    if len(known) < len(pairs):
        verdict = "no" if verdict == "no" else "not decidable"
    mean = float(np.mean([gap.value for _, gap in known])) if known else float("nan")
    return SAME.answered(
        verdict,
        sentence=f"At equal learning the followed decrease forgets {nats(mean, signed=True)} nats "
        f"against the fixed rate, on average over {len(known)} settings with a common range.",
        value=f"{nats(mean, signed=True)} nats",
        interval="mean; intervals per setting in the numbers",
        header=("size", "replay", "followed", "fixed", "followed minus fixed, nats", "interval"),
        rows=tuple(
            (
                row["model"],
                percent(row["replay_fraction"]),
                *_followed_and_fixed(row, kinds),
                nats(gap.value, signed=True),
                between(gap.low, gap.high),
            )
            for row, gap in known
        ),
    )


def knee(frames: Frames) -> Answer:
    """Answer question 10 from the final checkpoints of each size."""
    table = fronts(frames)
    if table.empty:
        return KNEE.not_run("finished run")
    knees = table[table.knee]
    n_front = table[table.on_front].groupby("model").size()
    share = share_of_equal_knees(frames)
    verdict: Verdict = "not decidable"
    if share >= 1 - RARE or share <= RARE:
        verdict = "yes" if share >= 1 - RARE else "no"
    return KNEE.answered(
        verdict,
        sentence="Settings on the front: "
        + ", ".join(f"{model} {n}" for model, n in n_front.reindex(frames.sizes).dropna().items())
        + ".",
        value="; ".join(
            f"{row.model}: {row.policy_label}, {percent(row.replay_fraction)}"
            for row in each(knees)
        )
        or "–",
        interval="no repeated seed, or no clear knee"
        if np.isnan(share)
        else f"same replay in {percent(share)} of draws over seeds",
        header=("size", "knee", "replay", "learning, nats", "forgetting, nats"),
        rows=tuple(
            (
                row.model,
                row.policy_label,
                percent(row.replay_fraction),
                nats(row.learning_nats),
                nats(row.forgetting_nats, signed=True),
            )
            for row in each(knees)
        ),
    )


def _followed_minus_fixed(row: dict, kinds: dict[str, str]) -> tuple[dict, Fitted]:
    value, low, high = triple({**row, "value": row["mean"]})
    if kinds[row["second"]] == "follow":
        return row, Fitted(value, low, high)
    return row, Fitted(-value, -high, -low)


def _followed_and_fixed(row: dict, kinds: dict[str, str]) -> tuple[str, str]:
    labels = (str(row["first"]), str(row["second"]))
    return labels if kinds[labels[0]] == "follow" else (labels[1], labels[0])


def _same(gaps: list[Fitted], tolerance: float) -> Verdict:
    if any(gap.low > tolerance or gap.high < -tolerance for gap in gaps):
        return "no"
    within = [max(abs(gap.low), abs(gap.high)) <= tolerance for gap in gaps]
    return "yes" if within and all(within) else "not decidable"
