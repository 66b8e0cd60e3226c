"""Question 8: is the order of the data remembered?"""

from __future__ import annotations

from typing import Any

import pandas as pd

from palimpsest.core.answers.answer import SHARED, Answer, Question, Verdict, some, within
from palimpsest.core.answers.fitted import with_ends
from palimpsest.core.answers.frames import Frames
from palimpsest.core.answers.numbers import between, nats, plain
from palimpsest.core.answers.settings import SETTING, setting_words
from palimpsest.core.seeds import one_cell, reach

ORDER = Question(
    8,
    words="Is the order of the data remembered; first and last best, middle worst? How do repeats, "
    "window, stride and rate change it? What does retraining the middle do?",
    asked="Is there a setting in which how much is forgotten of a piece depends on when it was "
    "trained on?",
    rule="Order memory is Spearman's ρ of F_after with place in training, minus the same in the "
    "shuffled control; the table gives each run's interval by moving blocks of pieces. The "
    "control is shown both ways: by place in its own training, where what came last is fresh in "
    "any order, and by place in the story, where it tells whether some pieces are harder to keep, "
    "whenever they come; order memory takes the former. The "
    "verdict takes settings with three seeds or more, and Student's 95 % interval over their "
    f"seeds: yes when that of one leaves out ±0.2 {SHARED}, no when all lie within it. Half-lives: "
    "of the setting's forgetting curves, with their spread over seeds.",
    lines="""\
memory:
  model: {sizes}
  seed: [0, 1, 2]
  stream: {order: [time, shuffled], repeats: [1, 4]}
  policy: {kind: fixed, learning_rate: [5.0e-4, 5.0e-3]}
  checkpoints: {kind: log, count: 6}
""",
    figures=("memory", "repeats", "recall-map", "shifts", "lag"),
)
SMALL_RHO = 0.2
RHOS = ("spearman", "spearman_control", "spearman_control_story")
FEWEST_SEEDS = 3


def order(frames: Frames) -> Answer:
    """Answer question 8 from the memory table's rows that have a shuffled control."""
    rows = frames.memory_runs.dropna(subset=["order_memory"])
    if rows.empty:
        return ORDER.not_run("run in time order with a shuffled control", frames)
    cells = _over_seeds(rows)
    clear = rows[(rows.low > 0) | (rows.high < 0)]
    seeds = f"{len(cells)} of {rows.groupby(SETTING).ngroups} settings have {FEWEST_SEEDS} seeds"
    return ORDER.answered(
        _verdict(cells),
        sentence=f"{seeds}. By the pieces of each run alone, {len(clear)} of {len(rows)} runs show "
        f"it. {_extreme(rows)}",
        value="; ".join(f"{place}: ρ = {plain(one)}" for place, one in _values(rows, cells)),
        interval="; ".join(between(one.low, one.high, decimals=2) for _, one in cells.iterrows())
        or f"fewer than {FEWEST_SEEDS} seeds: no interval over seeds",
        header=(
            "setting",
            "order memory",
            "interval",
            "ρ: in time order; shuffled, by place in its training; shuffled, by place in the story",
            "primacy, nats",
            "recency, nats",
            "half-life, steps",
        ),
        rows=tuple((*_row(row), _half_life(frames.fits, row)) for _, row in rows.iterrows()),
    )


def _over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean order memory of each setting with enough seeds, with its own spread."""
    parts = [
        one_cell(group.order_memory).assign(place=setting_words(group.iloc[0]))
        for _, group in rows.groupby(SETTING)
        if group.seed.nunique() >= FEWEST_SEEDS
    ]
    cells = pd.concat(parts, ignore_index=True) if parts else one_cell([]).iloc[:0]
    half = reach(cells)
    return cells.assign(low=cells["mean"] - half, high=cells["mean"] + half)


def _verdict(cells: pd.DataFrame) -> Verdict:
    """Decide over seeds: blocks within one run do not know how another seed would come out."""
    if cells.empty:
        return "not decidable"
    if some(cells.assign(mean=cells["mean"].abs()), SMALL_RHO) == "yes":
        return "yes"
    return "no" if within(cells, SMALL_RHO) == "yes" else "not decidable"


def _values(rows: pd.DataFrame, cells: pd.DataFrame) -> list[tuple[str, float]]:
    """Return (setting, ρ): means of settings with enough seeds, else single runs."""
    if len(cells):
        return list(zip(cells.place, cells["mean"], strict=True))
    return [(_run_words(row), float(row.order_memory)) for _, row in rows.iterrows()]


def _extreme(rows: pd.DataFrame) -> str:
    """Return what the run with the largest order memory forgets of its first and last fifth."""
    row = rows.iloc[int(rows.order_memory.abs().to_numpy().argmax())]
    in_time, trained, story = (plain(row[name]) for name in RHOS)
    shuffled = (row[f"F_after_control_story_fifth_{k}"] for k in (1, 5))
    return (
        f"Largest in {_run_words(row)}: forgetting goes from "
        f"{nats(row.F_after_fifth_1, signed=True)} nats on the first fifth to "
        f"{nats(row.F_after_fifth_5, signed=True)} on the last; the same fifths of the story, "
        f"trained on in shuffled order, end at "
        f"{' and '.join(nats(one, signed=True) for one in shuffled)}. "
        f"ρ is {in_time} in time order; in shuffled order {trained} by place in its own training "
        f"and {story} by place in the story."
    )


def _row(row: pd.Series) -> tuple[str, ...]:
    return (
        _run_words(row),
        plain(row.order_memory),
        between(row.low, row.high, decimals=2),
        "; ".join(plain(row[name]) for name in RHOS),
        f"{nats(row.primacy_nats, signed=True)} "
        f"({between(row.primacy_nats_low, row.primacy_nats_high)})",
        f"{nats(row.recency_nats, signed=True)} "
        f"({between(row.recency_nats_low, row.recency_nats_high)})",
    )


def _half_life(fits: dict[str, Any], row: pd.Series) -> str:
    """Return the half-life of the forgetting curves of a run's setting, over its seeds."""
    names = [name for name in SETTING if name != "n_steps"]
    for found in fits["half_lives"]:
        if found["clock"] == "steps" and all(found[name] == row[name] for name in names):
            return with_ends(found, decimals=1)
    return "–"


def _run_words(row: pd.Series) -> str:
    return f"{setting_words(row)}, seed {row.seed}"
