"""Questions 9, 11, 12 and 13: epochs, order by difficulty, protections, and longer pretraining."""

from __future__ import annotations

import pandas as pd

from palimpsest.core.answers.answer import Answer, Question, decide
from palimpsest.core.answers.frames import Frames
from palimpsest.core.answers.numbers import between, nats, plain
from palimpsest.core.answers.seeds import mean_interval

RETURN = Question(
    9,
    words="Do benchmarks come back over many epochs?",
    asked="Is a benchmark's collapse after the last epoch less than the worst after an earlier "
    "one?",
    rule="Worst collapse minus last collapse over the epochs of one setting, mean over settings "
    "and tasks. Yes when the 95 % interval lies above 0.05, no when it lies below.",
    figures=("benchmarks",),
)
DIFFICULTY = Question(
    11,
    words="Does ordering by difficulty help, of the new data and of the replayed?",
    asked="Does easy-first or hard-first order learn more than time order?",
    rule="Learning in the order minus learning in time order, pairs of the same setting and "
    "seed. Yes when the 95 % interval of one order lies above zero, no when both lie below 0.01 "
    "nats.",
)
PROTECT = Question(
    12,
    words="Do EWC, consolidation (replay only, and pruning the drift back towards θ₀) or "
    "interpolation with θ₀ beat plain replay?",
    asked="Does another protection than replay forget less at equal learning?",
    rule="Needs runs that end with a phase of pure replay. Yes when they forget less by more "
    "than the tolerance at no less learning (95 % interval over pairs), no when the interval "
    "lies below it.",
)
LONGER = Question(
    13,
    words="Does a base trained for longer forget more?",
    asked="Does the longest-trained base of a size forget more than its least-trained one?",
    rule="Forgetting from the base with the lowest loss on original text minus that from the "
    "base with the highest, pairs of the same setting and seed. Yes when the 95 % interval lies "
    "above zero, no when it lies below.",
)
SETTING = ["model", "seed", "policy_label", "replay_fraction", "stream", "repeats"]
CAME_BACK = 0.05
LITTLE_LEARNING_NATS = 0.01


def come_back(frames: Frames) -> Answer:
    """Answer question 9 from settings that were evaluated after several numbers of epochs."""
    columns = ["run", "stream", "order", "repeats", "epochs"]
    evals = frames.evals.dropna(subset=["collapse"]).merge(frames.runs[columns], on="run")
    gains = [
        float(ours.collapse.max() - ours.sort_values("epochs").collapse.iloc[-1])
        for _, ours in evals.groupby([*SETTING, "order", "task", "metric"])
        if ours.epochs.nunique() > 1
    ]
    if not gains:
        return RETURN.not_run("setting with benchmarks after several numbers of epochs")
    mean, low, high = mean_interval(gains)
    return RETURN.answered(
        decide(low, high, yes_above=CAME_BACK, no_below=CAME_BACK),
        sentence=f"Over {len(gains)} settings and tasks, {plain(mean)} of the collapse came back.",
        value=plain(mean),
        interval=between(low, high, decimals=2),
    )


def difficulty(frames: Frames) -> Answer:
    """Answer question 11 from runs in easy-first or hard-first order and their time-order pairs."""
    intervals = {
        order: mean_interval(_paired(frames.runs, order).dropna())
        for order in ("easy-first", "hard-first")
        if len(_paired(frames.runs, order))
    }
    if not intervals:
        return DIFFICULTY.not_run("run ordered by difficulty beside one in time order")
    verdicts = [
        decide(low, high, yes_above=0, no_below=LITTLE_LEARNING_NATS)
        for _, low, high in intervals.values()
    ]
    every_no = all(verdict == "no" for verdict in verdicts)
    return DIFFICULTY.answered(
        "yes" if "yes" in verdicts else ("no" if every_no else "not decidable"),
        sentence="Learning against time order: "
        + "; ".join(
            f"{order} {nats(mean, signed=True)}" for order, (mean, _, _) in intervals.items()
        )
        + " nats.",
        value="; ".join(nats(mean, signed=True) for mean, _, _ in intervals.values()),
        interval="; ".join(between(low, high) for _, low, high in intervals.values()),
    )


def protections(frames: Frames) -> Answer:
    """Answer question 12: no stage builds such runs yet, so that no table can hold them."""
    return PROTECT.not_run("run with EWC, consolidation or interpolation")


def longer_base(frames: Frames) -> Answer:
    """Answer question 13 from settings that were run from several bases of one size and seed."""
    gaps = []
    for _, ours in frames.runs.dropna(subset=["forgetting_nats"]).groupby([*SETTING, "n_steps"]):
        ordered = ours[ours.order == "time"].sort_values("loss_original_base_nats")
        if ordered.loss_original_base_nats.round(6).nunique() > 1:
            gaps.append(float(ordered.forgetting_nats.iloc[0] - ordered.forgetting_nats.iloc[-1]))
    if not gaps:
        return LONGER.not_run("setting that was run from several checkpoints of one base")
    mean, low, high = mean_interval(gaps)
    return LONGER.answered(
        decide(low, high, yes_above=0, no_below=0),
        sentence=f"Over {len(gaps)} settings, {nats(mean, signed=True)} nats between the bases.",
        value=f"{nats(mean, signed=True)} nats",
        interval=between(low, high),
    )


def _paired(runs: pd.DataFrame, order: str) -> pd.Series:
    """Return learning in `order` minus learning in time order, one value per setting and seed."""
    keys = [*SETTING, "epochs", "n_steps"]
    sides = [
        runs[runs.order == name].groupby(keys).learning_nats.mean() for name in (order, "time")
    ]
    return (sides[0] - sides[1]).dropna()
