"""What is lost since each update on a piece: how much more a repeat or another epoch keeps."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import nats
from palimpsest.core.answers.settings import SETTING, setting_words
from palimpsest.core.plots import theme
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

NAME, TITLE = "repeats", "What is left of each repeat and each epoch"
CAPTION = (
    "How often a piece of the new text has been trained on, repeats and epochs counted together, "
    "against the rise of its loss from just after that update to the end, nats per token. Above "
    "zero (orange): what was known then is lost; below (blue): the piece is known better in the "
    "end. Each point is one piece, the line their mean. Grey, dashed: the mean of the same run in "
    "shuffled order. From one repeat to the next a line rises by what the update took off the loss."
)
MAX_RUNS = 8


def repeats(frames: Frames) -> Drawing | Missing:
    """Draw F_after by the number of updates for runs that take several; one seed per setting."""
    rows = _shown(frames)
    if rows.empty:
        return Missing(NAME, TITLE, "no run that measured a piece after more than one update on it")
    table = frames.repeats[frames.repeats.run.isin([*rows.run, *rows.control_run])]
    table = table.dropna(subset=["F_after"])[
        ["run", "piece", "visit", "repeat", "n_seen", "F_after"]
    ]
    panels = tuple(
        Panel(
            setting_words(row),
            partial(_paint, frames=frames, row=row, table=table),
            _alt(row, table[table.run == row.run]),
        )
        for row in each(rows)
    )
    return Drawing(NAME, TITLE, CAPTION, panels, table)


def _shown(frames: Frames) -> pd.DataFrame:
    """Return runs with several updates on a piece: first those beside one in shuffled order."""
    n_seen = frames.repeats.groupby("run", observed=True).n_seen.max().rename("most_seen")
    rows = frames.runs.merge(n_seen.reset_index().astype({"run": str}), on="run")
    rows = rows[rows.most_seen > 1].merge(frames.memory[["run", "control_run"]], on="run")
    rows = rows[~rows.run.isin(rows.control_run)].fillna({"control_run": ""})
    rows["alone"] = rows.control_run == ""
    by = ["alone", "most_seen", "n_params", "learning_rate", "seed", "run"]
    ordered = rows.sort_values(by, ascending=[True, False, True, True, True, True])
    return ordered.drop_duplicates([*SETTING, "learning_rate"]).head(MAX_RUNS)


def _paint(ax: Axes, *, frames: Frames, row: Any, table: pd.DataFrame) -> None:
    theme.zero_line(ax)
    ours = table[table.run == row.run]
    for sign, colour in ((ours.F_after > 0, theme.LOST), (ours.F_after <= 0, theme.KEPT)):
        points = ours[sign]
        ax.plot(points.n_seen, points.F_after, ".", color=colour, alpha=0.4, markersize=4)
    control = table[table.run == row.control_run]
    colour = theme.size_colour(frames.sizes, str(row.model))
    if len(control):
        _mean(ax, control, color=theme.MUTED, linestyle=theme.DASHES[2], label="shuffled")
    _mean(ax, ours, color=colour, marker="o", markersize=3.5, label="mean of the pieces")
    theme.few_ticks(ax)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_xlabel("updates on the piece so far")
    ax.set_ylabel("F_after, nats per token")
    theme.legend_below(ax)


def _mean(ax: Axes, rows: pd.DataFrame, **style: Any) -> None:
    means = rows.groupby("n_seen").F_after.mean()
    ax.plot(means.index, means, **style)


def _alt(row: Any, table: pd.DataFrame) -> str:
    means = table.groupby("n_seen").F_after.mean()
    first, last = (nats(means.iloc[place], signed=True) for place in (0, -1))
    return (
        f"Rise of the loss to the end by the number of updates on a piece, {setting_words(row)}: "
        f"mean {first} nats since the first, {last} since update {means.index[-1]}."
    )
