"""Question 8: is the order of the data remembered?"""

from __future__ import annotations

import pandas as pd

from palimpsest.core.answers.answer import Answer, Question, Verdict
from palimpsest.core.answers.frames import Frames
from palimpsest.core.answers.numbers import between, nats, plain, rate

ORDER = Question(
    8,
    words="Is the order of the data remembered; first and last best, middle worst? How do repeats, "
    "window, stride and rate change it? What does retraining the middle do?",
    asked="Does how much is forgotten of a piece depend on when it was trained on?",
    rule="Order memory is Spearman's ρ of F_after with place in training, minus the same in the "
    "shuffled control. Yes when its 95 % interval leaves out zero in at least half of the "
    "settings; no when all intervals lie within ±0.2.",
    figures=("memory", "recall-map", "lag"),
)
SMALL_RHO = 0.2


def order(frames: Frames) -> Answer:
    """Answer question 8 from the memory table's rows that have a shuffled control."""
    rows = frames.memory_runs.dropna(subset=["order_memory"])
    if rows.empty:
        return ORDER.not_run("run in time order with a shuffled control")
    strongest = rows.iloc[int(rows.order_memory.abs().to_numpy().argmax())]
    clear = rows[(rows.low > 0) | (rows.high < 0)]
    return ORDER.answered(
        _verdict(rows, len(clear)),
        sentence=f"{len(clear)} of {len(rows)} settings show it. Strongest: {strongest.model}, "
        f"{_setting(strongest)}: forgetting goes from "
        f"{nats(strongest.F_after_fifth_1, signed=True)} nats on the first fifth to "
        f"{nats(strongest.F_after_fifth_5, signed=True)} on the last.",
        value=f"ρ = {plain(strongest.order_memory)}",
        interval=between(strongest.low, strongest.high, decimals=2),
        header=("setting", "order memory", "interval", "primacy, nats", "recency, nats"),
        rows=tuple(_row(row) for _, row in rows.iterrows()),
    )


def _verdict(rows: pd.DataFrame, n_clear: int) -> Verdict:
    if 2 * n_clear >= len(rows):
        return "yes"
    small = (rows.low > -SMALL_RHO) & (rows.high < SMALL_RHO)
    return "no" if small.all() else "not decidable"


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
