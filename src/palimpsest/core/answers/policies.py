"""Questions 4 and 10: a fixed rate against following the decrease, and the Pareto front's knee."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core.answers.answer import SHARED, Answer, Question, Verdict, within
from palimpsest.core.answers.fitted import front_table, with_ends
from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import between, nats, percent
from palimpsest.core.answers.replay import SWEEP
from palimpsest.core.seeds import reach

SAME = Question(
    4,
    words="Is a fixed low rate the same as following a loss decrease? (forgetting at equal "
    "learning)",
    asked="Is forgetting at equal learning the same under a rate that is kept (fixed or hold) and "
    "under a followed decrease?",
    rule="Forgetting under each followed decrease minus that under the lowest kept rate that "
    "learns at least half as much (a lower one does next to nothing, and at little learning all "
    "are alike), per size and replay, seed by seed, interpolated along the runs at common values "
    "of learning. Runs need three checkpoints beyond θ₀: between θ₀ and the end "
    "alone there is only a straight guess. The spread over seeds is the pair's own from three "
    "seeds on, with fewer that of all pairs of policies. Yes when every 95 % interval over seeds "
    f"lies within the tolerance, no when one lies outside {SHARED}.",
    lines="""\
follow:
  model: {sizes}
  seed: [0, 1, 2]
  policy:
    - {kind: follow, decrease: 0.01}
    - {kind: hold, decrease: 0.01}
  checkpoints: {kind: log, count: 6}
""",
    figures=("tradeoff", "courses"),
)
KEPT = ("fixed", "hold")
HALF = 0.5  # of the learning under a followed decrease: a kept rate's that is compared with it
RARE = 0.05
KNEE = Question(
    10,
    words="Where is the Pareto front, and which setting is its knee?",
    asked="Is the knee of the front at the same replay fraction for every size?",
    rule="Final checkpoints of runs of one pass over the same new text (means over seeds) that no "
    "other beats on both learning and forgetting, per size; the knee is the farthest from the "
    "front's chord. Draws of learning and forgetting together, within their spread over seeds: yes "
    "when the knees of all sizes agree in at least 95 % of them; no when they agree, or some size "
    "has no knee, in at most 5 %. Needs two sizes; a front of fewer than three settings has no "
    "knee.",
    lines=SWEEP,
    figures=("tradeoff",),
)


def same(frames: Frames) -> Answer:
    """Answer question 4 from the fits' comparison of policies at equal learning."""
    pairs = _followed_against_kept(frames)
    if pairs.empty:
        missing = "run of policy follow beside one at a rate that is kept"
        return SAME.not_run(missing, frames)
    place = ["model", "replay_fraction", "followed"]
    by_place = pairs.sort_values("kept_rate").groupby(place, sort=False)
    cells = pd.DataFrame([_lowest_with_a_range(ours) for _, ours in by_place])
    cells = cells.astype({"mean": float, "stderr": float, "n_free": int})
    known = cells.dropna(subset=["mean"])
    verdict: Verdict = within(known, frames.tolerance_nats)
    if verdict == "yes" and len(known) < len(cells):
        verdict = "not decidable"
    half = reach(known)
    reasons = "; ".join(sorted({text for text in cells.reason if text}))
    return SAME.answered(
        verdict,
        sentence=f"{len(known)} of {len(cells)} followed settings could be compared"
        + (f" ({reasons})" if reasons else "")
        + f". Tolerance ±{frames.tolerance_nats:g} nats.",
        value="; ".join(f"{row.model}: {nats(row.mean, signed=True)} nats" for row in each(known))
        or "–",
        interval="; ".join(
            between(mean - reached, mean + reached)
            for mean, reached in zip(known["mean"], half, strict=True)
        ),
        header=("size", "replay", "policies", "followed minus kept, nats", "interval", "seeds"),
        rows=tuple(_gap_row(row, reached) for row, reached in zip(each(known), half, strict=True)),
    )


def _followed_against_kept(frames: Frames) -> pd.DataFrame:
    """Return the pairs of one followed and one kept policy; `mean` is followed minus kept."""
    kinds = dict(zip(frames.runs.policy_label, frames.runs.policy, strict=True))
    of_policy = frames.plain_runs.groupby(["model", "replay_fraction", "policy_label"])
    rates, learned = of_policy.learning_rate.median(), of_policy.learning_nats.mean()
    rows = []
    for row in frames.fits["equal_learning"]:
        sides = {kinds.get(row[side]): row[side] for side in ("first", "second")}
        kept = [kind for kind in KEPT if kind in sides]
        if "follow" not in sides or not kept:
            continue
        places = [(row["model"], row["replay_fraction"], sides[k]) for k in ("follow", kept[0])]
        if not learned[places[1]] >= HALF * learned[places[0]]:
            continue
        sign = 1 if kinds[row["second"]] == "follow" else -1
        rows.append(
            row
            | {"mean": np.nan if row["mean"] is None else sign * row["mean"]}
            | {"stderr": np.nan if row["stderr"] is None else row["stderr"]}
            | {"followed": sides["follow"], "kept": sides[kept[0]]}
            | {"kept_rate": rates[places[1]]}
        )
    return pd.DataFrame(rows)


def _lowest_with_a_range(pairs: pd.DataFrame) -> pd.Series:
    """Return the pair with the lowest kept rate that could be compared, else the lowest."""
    known = pairs.dropna(subset=["mean"])
    return (known if len(known) else pairs).iloc[0]


def _gap_row(row: Any, reached: float) -> tuple[str, ...]:
    return (
        row.model,
        percent(row.replay_fraction),
        f"{row.followed} − {row.kept}",
        nats(row.mean, signed=True),
        between(row.mean - reached, row.mean + reached),
        str(row.n_seeds),
    )


def knee(frames: Frames) -> Answer:
    """Answer question 10 from the fits' fronts over learning and forgetting."""
    table = front_table(frames.fits)
    if table.empty or table.groupby("model").size().max() < 2:
        return KNEE.not_run("size that was run in two settings or more", frames)
    equal, none = _agreement(table)
    knees = table[table.knee]
    return KNEE.answered(
        _same_knee(equal, none, n_sizes=table.model.nunique()),
        sentence="Settings on the front: "
        + "; ".join(_front_words(model, ours) for model, ours in _by_size(table))
        + f". Over all checkpoints: {_checkpoint_words(frames)}.",
        value="; ".join(
            f"{row.model}: {row.policy_label}, {percent(row.replay_fraction)}"
            for row in each(knees)
        )
        or "–",
        interval="no repeated seed: no interval"
        if np.isnan(equal)
        else f"all sizes agree in {percent(equal)} of draws over seeds, some have no knee in "
        f"{percent(none)}",
        header=(
            *("size", "policy", "replay", "learning, nats", "forgetting, nats", "on the front"),
            *("in so many draws", "knee in so many draws", "lost per nat learned, by law"),
        ),
        rows=tuple((*_setting_row(row), _per_nat(frames.fits, row)) for row in each(table)),
    )


def _agreement(table: pd.DataFrame) -> tuple[float, float]:
    """Return in which share of draws all knees are at one replay fraction, and one is missing.

    Sizes are drawn independently of each other.
    """
    shares = table.groupby(["replay_fraction", "model"]).knee_probability.sum(min_count=1).unstack()
    if table.knee_probability.isna().any():
        return float("nan"), float("nan")
    equal = float(shares.fillna(0).prod(axis=1).sum())
    return equal, 1 - float(np.prod(shares.sum().to_numpy()))


def _same_knee(equal: float, none: float, *, n_sizes: int) -> Verdict:
    if n_sizes < 2 or np.isnan(equal):
        return "not decidable"
    if equal >= 1 - RARE:
        return "yes"
    return "no" if equal + none <= RARE else "not decidable"


def _by_size(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(str(ours.model.iloc[0]), ours) for _, ours in table.groupby("n_params")]


def _front_words(model: str, ours: pd.DataFrame) -> str:
    return f"{model} {int(ours.member.sum())} of {len(ours)}"


def _checkpoint_words(frames: Frames) -> str:
    """Return how many checkpoints of each size no other beats."""
    members = [row["model"] for row in frames.fits["pareto_checkpoints"]]
    return "; ".join(f"{m} {members.count(m)}" for m in frames.sizes if m in members) or "none"


def _per_nat(fits: dict[str, Any], row: Any) -> str:
    """Return forgetting per nat learned by the two laws over replay, of the policy they are of."""
    if row.policy_label != fits["advice"]["policy"]:
        return "–"
    for found in fits["forgetting_per_nat"]:
        if (found["model"], found["replay_fraction"]) == (row.model, row.replay_fraction):
            return with_ends(found, decimals=2)
    return "–"


def _setting_row(row: Any) -> tuple[str, ...]:
    return (
        row.model,
        row.policy_label,
        percent(row.replay_fraction),
        nats(row.learning_nats, signed=True),
        nats(row.forgetting_nats, signed=True),
        ("yes, knee" if row.knee else "yes") if row.member else "no",
        percent(row.probability),
        percent(row.knee_probability),
    )
