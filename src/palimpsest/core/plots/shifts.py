"""The shift-averaged recall: change of loss by how long ago a piece was trained on."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import nats
from palimpsest.core.answers.settings import SETTING, setting_words
from palimpsest.core.plots import theme
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

NAME, TITLE = "shifts", "Loss by the distance to the piece in training"
CAPTION = (
    "Change of the loss since the base, averaged over all pieces and checkpoints at which a piece "
    "was trained on so many pieces ago (right of the upright line) or is still to come in this "
    "round (left), nats per token. A line for each round over the pieces, later ones stronger. "
    "Falling towards the line from the left: pieces are anticipated before they come round."
)
MAX_RUNS = 4


def shifts(frames: Frames) -> Drawing | Missing:
    """Draw the shift map of runs that go round, then of the memory experiment; one per setting."""
    rows = shown(frames)
    if rows.empty:
        return Missing(NAME, TITLE, "no run in cyclic or in shuffled order measured its recall")
    table = frames.shifts[frames.shifts.run.isin(rows.run)]
    panels = tuple(
        Panel(
            setting_words(row),
            partial(_paint, frames=frames, row=row, table=table[table.run == row.run]),
            _alt(row, table[table.run == row.run]),
        )
        for row in each(rows)
    )
    return Drawing(NAME, TITLE, CAPTION, panels, table)


def shown(frames: Frames) -> pd.DataFrame:
    """Return the runs that are drawn: those of most rounds first, the first seed of a setting."""
    rounds = frames.shifts.groupby("run")["round"].nunique().rename("n_rounds").reset_index()
    rows = frames.runs.merge(rounds, on="run")
    rows = rows[(rows.n_rounds > 1) | rows.run.isin(frames.memory_runs.run)]
    by = ["n_rounds", "n_params", "seed", "run"]
    ordered = rows.sort_values(by, ascending=[False, True, True, True])
    return ordered.drop_duplicates([*SETTING, "learning_rate"]).head(MAX_RUNS)


def _paint(ax: Axes, *, frames: Frames, row: Any, table: pd.DataFrame) -> None:
    theme.zero_line(ax)
    ax.axvline(0, color=theme.INK, linewidth=0.9)
    rounds = sorted(table["round"].unique())
    for place, number in enumerate(rounds, start=1):
        ours = table[table["round"] == number].sort_values("shift")
        ax.plot(
            ours["shift"],
            ours.change_nats,
            color=theme.size_colour(frames.sizes, str(row.model)),
            alpha=0.35 + 0.65 * place / len(rounds),
            linewidth=0.7 + 0.9 * place / len(rounds),
            linestyle=theme.dashes(rounds[::-1], number),
            label=f"round {number + 1}",
        )
    theme.few_ticks(ax)
    ax.set_xlabel("trained on so many pieces ago (left: in so many)")
    ax.set_ylabel("change of loss, nats per token")
    theme.legend_below(ax, columns=5)


def _alt(row: Any, table: pd.DataFrame) -> str:
    last = table[table["round"] == table["round"].max()]
    sides = (last[last["shift"] < 0], last[last["shift"] > 0])
    means = [np.average(part.change_nats, weights=part.n_pairs) for part in sides if len(part)]
    return (
        f"Change of loss by distance to the piece in training, {setting_words(row)}, "
        f"{table['round'].nunique()} rounds; in the last, means before and after training on a "
        f"piece: {', '.join(nats(one, signed=True) for one in means)} nats."
    )
