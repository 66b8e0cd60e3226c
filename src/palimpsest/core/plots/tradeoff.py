"""Learning against forgetting with the Pareto front, one panel per size."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from palimpsest.core.answers.fitted import front_table
from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import count, nats, percent
from palimpsest.core.plots import theme
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

NAME, TITLE = "tradeoff", "Learning against forgetting"
CAPTION = (
    "Each point is a setting (mean over seeds), labelled with its replay share; faint dots are "
    "single runs. Right and down is better. The line joins the settings that no other beats on "
    "both (Pareto front), the ring is its knee. Of many settings those off the front are faint "
    "and without a name, and those far above it outside of the frame, which says how many. The "
    "base model θ₀ lies at the origin (an arrow points to it) and is not counted. How often a "
    "setting stays on the front over draws of seeds stands in the data."
)


FEW_SETTINGS = 8  # of so many each is named
ROOM_ABOVE = 1.8  # the frame's height, in that of the front, where there are more


def tradeoff(frames: Frames) -> Drawing | Missing:
    """Draw the finished settings of each size in the plane of learning and forgetting."""
    table = front_table(frames.fits)
    if table.empty:
        return Missing(NAME, TITLE, "no finished run of one pass over the data in time order")
    main, limits = frames.main_policy, _limits(frames, table)
    panels = tuple(
        Panel(
            f"{model}, {count(ours.n_params.iloc[0])} parameters",
            partial(_paint, frames=frames, table=ours, main=main, limits=limits),
            _alt(str(model), ours),
        )
        for model, ours in ((m, table[table.model == m]) for m in frames.sizes)
        if len(ours)
    )
    return Drawing(NAME, TITLE, CAPTION, panels, table)


def _limits(frames: Frames, table: pd.DataFrame) -> tuple[float, float]:
    """Return the range of forgetting to show, equal in all panels."""
    runs = frames.plain_runs
    lost = runs.forgetting_nats[runs.replay_fraction < 1]
    low, high = theme.span(np.concatenate([table.forgetting_nats, lost]).astype(float), margin=0.12)
    if table.groupby("model").size().max() <= FEW_SETTINGS:
        return low, high
    high = min(high, ROOM_ABOVE * float(table.forgetting_nats[table.member].max()))
    return min(0.0, float(lost.min())) - 0.12 * high, high


def _paint(
    ax: Axes, *, frames: Frames, table: pd.DataFrame, main: str, limits: tuple[float, float]
) -> None:
    model = str(table.model.iloc[0])
    colour = theme.size_colour(frames.sizes, model)
    theme.zero_line(ax)
    runs = frames.plain_runs
    runs = runs[(runs.model == model) & (runs.replay_fraction < 1)]
    ax.plot(runs.learning_nats, runs.forgetting_nats, ".", color=colour, alpha=0.35, markersize=3)
    front = table[table.member].sort_values("learning_nats")
    ax.plot(front.learning_nats, front.forgetting_nats, color=colour, linewidth=1, label="front")
    named = table if len(table) <= FEW_SETTINGS else table[table.member]
    others = table.drop(named.index)
    ax.plot(
        others.learning_nats, others.forgetting_nats, "o", color=colour, alpha=0.4, markersize=3
    )
    _mark_settings(ax, named, frames=frames, main=main)
    _mark_knee(ax, table[table.knee])
    ax.set_ylim(*limits)
    _count_above(ax, int((table.forgetting_nats > limits[1]).sum()))
    _mark_base(ax, table)
    theme.few_ticks(ax)
    ax.set_xlabel("learning, nats per token")
    ax.set_ylabel("forgetting, nats per token")
    points = [
        (row.learning_nats, row.forgetting_nats, percent(row.replay_fraction))
        for row in each(named)
    ]
    theme.label_points(ax, points)
    theme.legend_below(ax, columns=4)


def _count_above(ax: Axes, n_settings: int) -> None:
    if n_settings:
        words = f"{n_settings} more above"
        ax.text(0.02, 0.95, words, transform=ax.transAxes, color=theme.MUTED, fontsize=6.4)


def _mark_settings(ax: Axes, table: pd.DataFrame, *, frames: Frames, main: str) -> None:
    """Draw a point for each setting: the main policy in the size's marker, others in their own."""
    model = str(table.model.iloc[0])
    policies = sorted(table.policy_label.unique())
    for policy, ours in table.groupby("policy_label"):
        own = theme.size_marker(frames.sizes, model)
        ax.plot(
            ours.learning_nats,
            ours.forgetting_nats,
            color=theme.size_colour(frames.sizes, model),
            linestyle="none",
            label=policy,
            marker=own if policy == main else theme.other_marker(policies, str(policy)),
        )


def _mark_knee(ax: Axes, knee: pd.DataFrame) -> None:
    ax.plot(
        knee.learning_nats,
        knee.forgetting_nats,
        marker="o",
        markersize=10,
        color=theme.INK,
        markerfacecolor="none",
        linestyle="none",
        label="knee" if len(knee) else None,
    )


def _mark_base(ax: Axes, table: pd.DataFrame) -> None:
    """Show the base at the origin, or where it lies when that is far outside of the settings."""
    low, high = float(table.learning_nats.min()), float(table.learning_nats.max())
    if low < 2 * (high - low):
        ax.plot(0, 0, marker="+", color=theme.INK, markersize=7)
        ax.margins(x=0.12)
        return
    room = 0.3 * max(high - low, 0.02)
    ax.set_xlim(low - room, high + room)
    arrow = {"arrowstyle": "->", "color": theme.INK, "linewidth": 0.8}
    across = ax.get_yaxis_transform()
    ax.annotate(
        "", (0.0, 0.0), xytext=(0.07, 0.0), xycoords=across, textcoords=across, arrowprops=arrow
    )
    ax.annotate(
        "θ₀",
        (0.015, 0.0),
        xycoords=across,
        xytext=(0, -8),
        textcoords="offset points",
        fontsize=6.4,
    )


def _alt(model: str, table: pd.DataFrame) -> str:
    front = table[table.member].sort_values("learning_nats")
    points = "; ".join(
        f"{row.policy_label} at replay {percent(row.replay_fraction)}: learning "
        f"{nats(row.learning_nats)}, forgetting {nats(row.forgetting_nats)}"
        for row in each(front)
    )
    return f"{TITLE}, model {model}. On the front: {points}."
