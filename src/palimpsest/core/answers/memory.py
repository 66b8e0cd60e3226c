"""Question 8: is the order of the data remembered?"""

from __future__ import annotations

import pandas as pd

from palimpsest.core.answers.answer import Answer, Question, Verdict
from palimpsest.core.answers.frames import Frames
from palimpsest.core.answers.numbers import between, nats, plain, rate
from palimpsest.core.answers.seeds import mean_interval

ORDER = Question(
    8,
    words="Is the order of the data remembered; first and last best, middle worst? How do repeats, "
    "window, stride and rate change it? What does retraining the middle do?",
    asked="Does how much is forgotten of a piece depend on when it was trained on?",
    rule="Order memory is Spearman's ρ of F_after with place in training, minus the same in the "
    "shuffled control; the table gives each run's interval by moving blocks of pieces. The verdict "
    "takes settings with three seeds or more, and the 95 % interval of their mean: yes when all "
    "leave out zero, no when all lie within ±0.2.",
    figures=("memory", "recall-map", "lag"),
)
SMALL_RHO = 0.2
FEWEST_SEEDS = 3


def order(frames: Frames) -> Answer:
    """Answer question 8 from the memory table's rows that have a shuffled control."""
    rows = frames.memory_runs.dropna(subset=["order_memory"])
    if rows.empty:
        return ORDER.not_run("run in time order with a shuffled control")
    strongest = rows.iloc[int(rows.order_memory.abs().to_numpy().argmax())]
    clear = rows[(rows.low > 0) | (rows.high < 0)]
    return ORDER.answered(
        _verdict(rows),
        sentence=f"{len(clear)} of {len(rows)} runs show it. Strongest: {strongest.model}, "
        f"{_setting(strongest)}: forgetting goes from "
        f"{nats(strongest.F_after_fifth_1, signed=True)} nats on the first fifth to "
        f"{nats(strongest.F_after_fifth_5, signed=True)} on the last.",
        value=f"ρ = {plain(strongest.order_memory)}",
        interval=between(strongest.low, strongest.high, decimals=2),
        header=("setting", "order memory", "interval", "primacy, nats", "recency, nats"),
        rows=tuple(_row(row) for _, row in rows.iterrows()),
    )


def _verdict(rows: pd.DataFrame) -> Verdict:
    """Decide over seeds: blocks within one run do not know how another seed would come out."""
    groups = [group.order_memory for _, group in rows.groupby(["model", "policy_label", "repeats"])]
    means = [mean_interval(values) for values in groups if len(values) >= FEWEST_SEEDS]
    if not means:
        return "not decidable"
    if all(low > 0 or high < 0 for _, low, high in means):
        return "yes"
    small = all(low > -SMALL_RHO and high < SMALL_RHO for _, low, high in means)
    return "no" if small else "not decidable"


def _row(row: pd.Series) -> tuple[str, ...]:
    return (
        f"{row.model}, {_setting(row)}",
        plain(row.order_memory),
        between(row.low, row.high, decimals=2),
        f"{nats(row.primacy_nats, signed=True)} "
        f"({between(row.primacy_nats_low, row.primacy_nats_high)})",
        f"{nats(row.recency_nats, signed=True)} "
        f"({between(row.recency_nats_low, row.recency_nats_high)})",
    )


def _setting(row: pd.Series) -> str:
    repeats = "1 repeat" if row.repeats == 1 else f"{row.repeats} repeats"
    return f"{repeats} at η {rate(row.learning_rate)}, seed {row.seed}"
