"""The critical replay ratio against model size, for the loss and for each benchmark."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import count, percent
from palimpsest.core.plots import theme
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

NAME, TITLE = "critical", "Critical replay ratio against model size"
CAPTION = (
    "The smallest replay share from which on the fitted curve stays within tolerance, with its "
    "95 % interval (a bar that reaches the top: its end lies beyond every share tried). Hollow at "
    "0 %: no replay is needed. Hollow triangle at the top: no share tried is enough."
)
MARKS = {"none needed": "o", "none": "^"}
LOSS = "forgetting of original text"


def critical(frames: Frames) -> Drawing | Missing:
    """Draw critical ratios, one panel for each thing that may be lost: the main policy's first."""
    rows = pd.DataFrame(frames.fits["critical_ratios"])
    if rows.empty or not (rows.policy_label == frames.main_policy).any():
        return Missing(NAME, TITLE, "no fit of a loss over replay from which to solve for a ratio")
    further = rows.policy_label != frames.main_policy
    rows = pd.concat([rows[~further], rows[further]])
    sizes = frames.runs.drop_duplicates("model")[["model", "n_params"]]
    table = rows.drop(columns="n_params", errors="ignore").merge(sizes, on="model")
    names = [_of(row, main_policy=frames.main_policy) for row in each(table)]
    table = table.assign(of=names)
    panels = tuple(
        Panel(str(of), partial(_paint, frames=frames, table=ours), _alt(str(of), ours))
        for of, ours in table.groupby("of", sort=False)
    )
    return Drawing(NAME, TITLE, CAPTION, panels, table)


def _of(row: Any, *, main_policy: str) -> str:
    """Name what is lost, and the policy where it is not the main one."""
    of = LOSS if pd.isna(row.task) else f"{row.task}, {row.metric}"
    return of if row.policy_label == main_policy else f"{of}, under {row.policy_label}"


def _paint(ax: Axes, *, frames: Frames, table: pd.DataFrame) -> None:
    top = float(table.largest_ratio_tried.max()) or 1.0
    for row in each(table.sort_values("n_params")):
        model = str(row.model)
        colour = theme.size_colour(frames.sizes, model)
        look: dict[str, Any] = {"color": colour, "linestyle": "none"}
        if row.answer == "ratio":
            high = top * 1.08 if pd.isna(row.high) else row.high
            ax.vlines(row.n_params, 0 if pd.isna(row.low) else row.low, high, color=colour)
            ax.plot(row.n_params, row.value, theme.size_marker(frames.sizes, model), **look)
        elif row.answer in MARKS:
            place = 0.0 if row.answer == "none needed" else top
            ax.plot(row.n_params, place, MARKS[row.answer], markerfacecolor="none", **look)
        else:  # words, not a mark: any height would read as a value
            middle: dict[str, Any] = {"ha": "center", "va": "center", "rotation": 90}
            ax.text(row.n_params, top / 2, row.answer, color=theme.MUTED, fontsize=6.4, **middle)
    known = table.drop_duplicates("model").sort_values("n_params")
    theme.size_axis(ax, list(known.n_params), [count(n) for n in known.n_params])
    ticks = [r for r in frames.replay_fractions if r <= top]
    ax.set_yticks(ticks, [percent(tick) for tick in ticks])
    ax.set_ylim(-0.05 * top, 1.08 * top)
    ax.set_ylabel("critical replay share")


def _alt(of: str, table: pd.DataFrame) -> str:
    answers = "; ".join(
        f"{row.model}: {percent(row.value) if row.answer == 'ratio' else row.answer}"
        for row in each(table.sort_values("n_params"))
    )
    return f"{TITLE}, {of}. {answers}."
