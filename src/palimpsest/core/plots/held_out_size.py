"""The largest size as predicted from the smaller ones, beside what was seen there."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import percent, plain
from palimpsest.core.plots import theme
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

NAME, TITLE = "held-out-size", "Predicted and seen at the largest size"
CAPTION = (
    "Laws in size were fitted without the largest model and then asked for it. Circles: what was "
    "seen; marks with bars: predictions with 95 % intervals, widened by the spread between laws. "
    "A constant is the baseline that a law must beat."
)
AXES = {
    "forgetting": ("forgetting, nats per token", "replay"),
    "learning": ("learning, nats per token", "replay"),
    "rate": ("learning rate η", "decrease in one step"),
    "base loss": ("loss of the base, nats", "bases, one for each seed"),
}
FORM_MARKS = ("D", "x", "_")


def held_out_size(frames: Frames) -> Drawing | Missing:
    """Draw predicted against seen values of the largest size, per quantity."""
    rows = pd.DataFrame(frames.fits["forecast"])
    if rows.empty:
        reason = "no quantity measured at three or more sizes"
        return Missing(NAME, TITLE, reason)
    rows = rows.assign(setting=[_setting(row) for row in each(rows)])
    panels = tuple(
        Panel(quantity, partial(_paint, rows=ours, quantity=quantity), _alt(quantity, ours))
        for quantity, ours in ((q, rows[rows.quantity == q]) for q in AXES)
        if len(ours)
    )
    return Drawing(NAME, TITLE, CAPTION, panels, rows)


def _setting(row: Any) -> str:
    if row.quantity == "base loss":
        return ""
    share = row.decrease if row.quantity == "rate" else row.replay_fraction
    return percent(float(share))


def _paint(ax: Axes, *, rows: pd.DataFrame, quantity: str) -> None:
    forms = [form for form in rows.form.unique() if form != "constant"] + ["constant"]
    seen = rows[rows.form == rows.form.iloc[0]].reset_index(drop=True)
    ax.plot(seen.index, seen.observed, "o", color=theme.INK, markerfacecolor="none", label="seen")
    for place, form in enumerate(forms):
        ours = rows[rows.form == form].reset_index(drop=True)
        x = ours.index + 0.16 * (place + 1)
        colour = theme.MUTED if form == "constant" else list(theme.SIZE_COLOURS)[5 + place]
        ax.vlines(x, ours.low.astype(float), ours.high.astype(float), color=colour, linewidth=1.2)
        ax.plot(x, ours.predicted.astype(float), FORM_MARKS[place], color=colour, label=form)
    ax.set_xticks(list(seen.index), list(seen.setting))
    ax.set_xlim(-0.5, len(seen) - 0.5 + 0.16 * len(forms))
    if quantity == "rate":
        theme.log_ticks(ax, "y")
    else:
        theme.few_ticks(ax)
    label, axis = AXES[quantity]
    ax.set_ylabel(label)
    ax.set_xlabel(axis)
    theme.legend_below(ax, columns=4)


def _alt(quantity: str, rows: pd.DataFrame) -> str:
    law = rows[rows.form == rows.form.iloc[0]]
    values = "; ".join(
        f"seen {plain(float(row.observed), decimals=4)}, predicted "
        f"{plain(float('nan') if row.predicted is None else float(row.predicted), decimals=4)}"
        for row in each(law)
    )
    return f"{TITLE}: {quantity} by {rows.form.iloc[0]}. {values}."
