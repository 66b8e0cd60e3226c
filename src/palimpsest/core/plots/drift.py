"""Drift of the weights, and of what the model says, against forgetting."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from palimpsest.core.answers.frames import Frames
from palimpsest.core.plots import theme
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

NAME, TITLE = "drift", "Drift against forgetting"
CAPTION = (
    "Each point is a finished run (filled: without replay; hollow: with replay; cross: replay "
    "only). Left: how far the weights moved, relative to their norm. Right: how far the model's "
    "predictions on original text moved from the base's (Kullback–Leibler divergence)."
)
CLOCKS = {
    "relative_drift": ("Weights", "relative drift of the weights"),
    "kl_original_nats": ("Predictions", "KL(base ‖ now) on original text, nats"),
}


def drift(frames: Frames) -> Drawing | Missing:
    """Draw forgetting against relative drift and against KL, all runs."""
    columns = ["run", "model", "n_params", "seed", "policy_label", "replay_fraction"]
    table = frames.runs[[*columns, "mad_drift", *CLOCKS, "forgetting_nats"]]
    known = [clock for clock in CLOCKS if (table[clock] > 0).any()]
    if table.dropna(subset=["forgetting_nats"]).empty or not known:
        return Missing(NAME, TITLE, "no finished run measured its drift")
    panels = tuple(
        Panel(
            CLOCKS[clock][0],
            partial(_paint, frames=frames, table=table.dropna(subset=[clock]), clock=clock),
            f"Forgetting against {CLOCKS[clock][1]}, {table[clock].notna().sum()} runs.",
        )
        for clock in known
    )
    return Drawing(NAME, TITLE, CAPTION, panels, table)


def _paint(ax: Axes, *, frames: Frames, table: pd.DataFrame, clock: str) -> None:
    sizes = frames.sizes
    theme.zero_line(ax)
    for model in sizes:
        ours = table[(table.model == model) & (table[clock] > 0)]
        colour, marker = theme.size_colour(sizes, model), theme.size_marker(sizes, model)
        for share, look in _looks(ours, marker):
            ax.plot(share[clock], share.forgetting_nats, color=colour, linestyle="none", **look)
        if len(ours):
            ax.plot([], [], color=colour, marker=marker, linestyle="none", label=model)
    theme.log_ticks(ax, "x")
    theme.few_ticks(ax)
    ax.set_xlabel(CLOCKS[clock][1])
    ax.set_ylabel("forgetting, nats per token")
    theme.legend_below(ax, columns=4)


def _looks(table: pd.DataFrame, marker: str) -> list[tuple[pd.DataFrame, dict[str, Any]]]:
    replay = table.replay_fraction
    return [
        (table[replay == 0], {"marker": marker}),
        (table[(replay > 0) & (replay < 1)], {"marker": marker, "markerfacecolor": "none"}),
        (table[replay == 1], {"marker": "x"}),
    ]
