"""Signed forgetting of each piece by its place in training, against the shuffled control."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import between, plain
from palimpsest.core.answers.settings import SETTING, setting_words
from palimpsest.core.plots import theme
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

NAME, TITLE = "memory", "What is left of each piece, in the order of training"
QUANTITIES = {"F_after": "since it was last seen", "F_before": "since before it was first seen"}
CAPTION = (
    "Each point is one piece of the new text: how much its loss rose from just after its last "
    "training step to the end (F_after), or from just before its first step to the end (F_before). "
    "Above zero (orange) is lost, below (blue) is kept. Line: rolling average. Grey: the same "
    "run in shuffled order, by place in that run's training (dashed) and by place in the story "
    "(dotted): flat where the piece itself does not matter. Of each setting the first seed is drawn"
)
MAX_SETTINGS = 8


def memory(frames: Frames) -> Drawing | Missing:
    """Draw F_after and F_before by piece for the settings that have a shuffled control."""
    rows, left_out = strongest(frames)
    if rows.empty:
        return Missing(NAME, TITLE, "no run was made in time order and in shuffled order")
    pieces = _pieces(frames, rows)
    panels = tuple(
        Panel(
            setting_words(row),
            partial(_paint, frames=frames, row=row, pieces=pieces, quantity=quantity),
            _alt(row, quantity),
        )
        for row in each(rows)
        for quantity in QUANTITIES
    )
    return Drawing(NAME, TITLE, f"{CAPTION}{left_out}.", panels, pieces)


def strongest(frames: Frames) -> tuple[pd.DataFrame, str]:
    """Return one run of each setting that has most order memory, and in words how many have not."""
    rows = frames.memory_runs.sort_values("seed", kind="stable").drop_duplicates(SETTING)
    kept = rows.order_memory.astype(float).abs().fillna(0.0).nlargest(MAX_SETTINGS).index
    more = len(rows) - len(kept)
    left_out = (
        f"; {more} of {len(rows)} settings, of the least order memory, are not" if more else ""
    )
    return rows.loc[kept].sort_index(), left_out


def _pieces(frames: Frames, rows: pd.DataFrame) -> pd.DataFrame:
    wanted = pd.concat([rows.run, rows.control_run]).unique()
    columns = ["run", "piece", "position_rank", "F_before", "F_after"]
    return frames.pieces[frames.pieces.run.isin(wanted)][columns].sort_values(
        ["run", "position_rank"], ignore_index=True
    )


def _paint(ax: Axes, *, frames: Frames, row: Any, pieces: pd.DataFrame, quantity: str) -> None:
    run, control = row.run, row.control_run
    ours = pieces[pieces.run == run].dropna(subset=[quantity])
    values = ours[quantity].to_numpy()
    position = 100 * ours.position_rank.to_numpy()
    theme.zero_line(ax)
    for sign, colour in ((values > 0, theme.LOST), (values <= 0, theme.KEPT)):
        ax.plot(position[sign], values[sign], ".", color=colour, alpha=0.7, markersize=4)
    window = max(len(values) // 8, 3)
    colour = theme.size_colour(frames.sizes, str(row.model))
    ax.plot(position, theme.rolling_mean(values, window), color=colour, label="time order")
    shuffled = pieces[pieces.run == control].dropna(subset=[quantity])
    ax.plot(
        100 * shuffled.position_rank,
        shuffled[quantity],
        ".",
        color=theme.MUTED,
        alpha=0.3,
        markersize=2.5,
    )
    for column, dash, label in (
        ("position_rank", theme.DASHES[2], "shuffled"),
        ("piece", theme.DASHES[4], "shuffled, by story"),
    ):
        ordered = shuffled.sort_values(column)[quantity].to_numpy()
        places = np.linspace(0, 100, len(ordered))
        line = theme.rolling_mean(ordered, window)
        ax.plot(places, line, color=theme.MUTED, linestyle=dash, label=label)
    _symmetric(ax, values)
    ax.set_xlabel("place in training, % of all pieces")
    ax.set_ylabel(f"{quantity}, nats per token")
    theme.legend_below(ax)


def _symmetric(ax: Axes, values: np.ndarray) -> None:
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, -0.05), max(high, 0.05))
    theme.few_ticks(ax)


def _alt(row: Any, quantity: str) -> str:
    fifths = ", ".join(plain(getattr(row, f"{quantity}_fifth_{k}")) for k in range(1, 6))
    memory = f"{plain(row.order_memory)}, {between(row.low, row.high, decimals=2)}"
    return (
        f"{quantity} by place in training, {setting_words(row)}. "
        f"Means over fifths of training: {fifths} nats. Order memory {memory}."
    )
