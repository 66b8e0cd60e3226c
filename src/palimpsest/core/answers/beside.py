"""Tables beside question 8: pieces that come round again, pieces beside those in training."""

from __future__ import annotations

from typing import Any

import pandas as pd

from palimpsest.core.answers.answer import Table
from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import between, nats, percent
from palimpsest.core.answers.settings import SETTING, setting_words
from palimpsest.core.seeds import over_seeds

BANDS = {"1 piece away": (1, 1), "2 to 4": (2, 4), "5 or more": (5, None)}
RETURNS = "Pieces that come round again, in a cyclic order or another epoch"
RETURNS_NOTE = (
    "Lost: loss just before a piece comes round again minus loss just after it was last trained "
    "on. Anticipation: the highest loss in between minus that just before it comes round; positive "
    "where the loss falls before the piece is seen, and, as the highest of several noisy losses, "
    "never negative where a checkpoint lies just before it. Recovered: its share of what had been "
    "lost, over the pieces that had lost anything."
)
NEIGHBOURS = "Pieces beside those in training, the middle trained again included"
NEIGHBOURS_NOTE = (
    "Change of the loss of a piece that was left out, less the mean of all that were, by its "
    "distance in the text to the nearest piece trained on; below zero: what lies beside gains "
    "more than what lies far away. In time order what lies beside was also trained on last, or is "
    "next: there distance and time since training cannot be told apart. Runs that measure only "
    "every k-th piece are left out."
)


def beside(frames: Frames) -> tuple[Table, ...]:
    """Return what the visits and the neighbours of pieces show, over seeds."""
    return _returns(frames), _neighbours(frames)


def _returns(frames: Frames) -> Table:
    rows = frames.memory.dropna(subset=["anticipation_nats"]).merge(frames.runs, on="run")
    lost, ahead, recovered = (
        over_seeds(rows, name, by=SETTING, own=True).set_index(SETTING)
        for name in ("F_between", "anticipation_nats", "recovery")
    )
    table = tuple(
        (
            setting_words(cell),
            str(cell.n_seeds),
            _cell(lost, cell),
            _cell(ahead, cell),
            percent(recovered["mean"].get(_key(cell), float("nan"))),
        )
        for cell in each(ahead.reset_index())
    )
    header = ("setting", "seeds", "lost, nats", "anticipation, nats", "recovered")
    return Table(RETURNS, RETURNS_NOTE, header, table, "no piece was trained on a second time")


def _neighbours(frames: Frames) -> Table:
    thinned = frames.memory[frames.memory.n_pieces_left_out > 0].run
    measured = frames.neighbours[~frames.neighbours.run.isin(thinned)]
    rows = measured.merge(frames.runs, on="run")
    by = [*SETTING, "again"]
    means = {name: _band(rows, low, high) for name, (low, high) in BANDS.items()}
    bands = {name: over_seeds(mean, "excess", by=by, own=True) for name, mean in means.items()}
    cells = {name: table.set_index(by) for name, table in bands.items()}
    settings = pd.concat(list(bands.values()))[by].drop_duplicates().sort_values(by)
    table = tuple(
        (
            setting_words(one),
            "again" if one.again else "for the first time",
            *(_cell(cells[name], one, "again") for name in BANDS),
        )
        for one in each(settings)
    )
    header = ("setting", "pieces trained on", *(f"{name}, nats" for name in BANDS))
    absent = "no run trained on a part of the pieces between two checkpoints"
    return Table(NEIGHBOURS, NEIGHBOURS_NOTE, header, table, absent)


def _band(rows: pd.DataFrame, low: int, high: int | None) -> pd.DataFrame:
    """Return each run's mean excess over the pairs of a range of distances."""
    known = rows.dropna(subset=["excess_nats"])
    inside = known[(known.distance >= low) & (known.distance <= (high or known.distance.max()))]
    weighted = inside.assign(excess=inside.excess_nats * inside.n_pairs)
    by = [*SETTING, "again", "seed", "run"]
    sums = weighted.groupby(by, as_index=False)[["excess", "n_pairs"]].sum()
    return sums.assign(excess=sums.excess / sums.n_pairs)


def _cell(table: pd.DataFrame, row: Any, *more: str) -> str:
    key = _key(row, *more)
    if key not in table.index:
        return "–"
    found = table.loc[key]
    return f"{nats(found['mean'], signed=True)} ({between(found.low, found.high)})"


def _key(row: Any, *more: str) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in (*SETTING, *more))
