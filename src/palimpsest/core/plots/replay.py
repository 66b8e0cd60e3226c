"""Forgetting and learning against the replay fraction, one panel per model size."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from palimpsest.core.answers.frames import Frames
from palimpsest.core.answers.numbers import count
from palimpsest.core.answers.seeds import over_seeds
from palimpsest.core.plots import theme
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

SETTING = ["model", "n_params", "policy_label", "replay_fraction"]


def forgetting(frames: Frames) -> Drawing | Missing:
    """Draw forgetting against replay per size: seeds, means, tolerance and the fitted band."""
    return _by_replay(
        frames,
        name="forgetting",
        title="Forgetting against replay",
        column="forgetting_nats",
        label="forgetting, nats per token",
    )


def learning(frames: Frames) -> Drawing | Missing:
    """Draw learning against replay per size: what mixing costs."""
    return _by_replay(
        frames,
        name="learning",
        title="Learning against replay",
        column="learning_nats",
        label="learning, nats per token",
    )


def _by_replay(
    frames: Frames, *, name: str, title: str, column: str, label: str
) -> Drawing | Missing:
    runs = frames.plain_runs().dropna(subset=[column])
    if runs.empty:
        return Missing(name, title, "no finished run of one pass over the data in time order")
    means = over_seeds(runs, column, by=SETTING)
    paint = partial(_paint, frames=frames, runs=runs, means=means, column=column, label=label)
    panels = tuple(
        Panel(
            title=f"{model}, {count(group.n_params.iloc[0])} parameters",
            paint=partial(paint, model=str(model)),
            alt=_alt(str(model), title=title, means=means),
        )
        for model, group in _in_order(runs, frames.sizes())
    )
    return Drawing(name, title, _caption(column), panels, means)


def _in_order(runs: pd.DataFrame, sizes: list[str]) -> list[tuple[str, pd.DataFrame]]:
    return [(model, runs[runs.model == model]) for model in sizes if (runs.model == model).any()]


def _paint(
    ax: Axes,
    *,
    frames: Frames,
    runs: pd.DataFrame,
    means: pd.DataFrame,
    column: str,
    label: str,
    model: str,
) -> None:
    theme.zero_line(ax)
    if column == "forgetting_nats":
        _tolerance(ax, frames.tolerance_nats())
    labels = sorted(means.policy_label.unique(), key=lambda one: (one != frames.main_policy(), one))
    for place, policy in enumerate(labels):
        ours = means[(means.model == model) & (means.policy_label == policy)]
        raw = runs[(runs.model == model) & (runs.policy_label == policy)]
        _policy(ax, ours, raw=raw, column=column, place=place, sizes=frames.sizes())
    theme.replay_axis(ax, frames.replay_fractions())
    theme.few_ticks(ax)
    ax.set_ylabel(label)
    theme.legend_below(ax, columns=2 if len(labels) < 4 else 3)


def _policy(
    ax: Axes, means: pd.DataFrame, *, raw: pd.DataFrame, column: str, place: int, sizes: list[str]
) -> None:
    if means.empty:
        return
    colour = theme.size_colour(sizes, str(means.model.iloc[0])) if place == 0 else theme.MUTED
    marker = theme.size_marker(sizes, str(means.model.iloc[0])) if place == 0 else "x"
    mixed = means[means.replay_fraction < 1]
    ax.plot(
        mixed.replay_fraction,
        mixed["mean"],
        color=colour,
        marker=marker,
        linestyle=theme.DASHES[place % len(theme.DASHES)],
        label=means.policy_label.iloc[0],
    )
    ax.plot(raw.replay_fraction, raw[column], ".", color=colour, alpha=0.55, markersize=3)
    sure = means.dropna(subset=["low"])
    ax.vlines(sure.replay_fraction, sure.low, sure.high, color=colour, linewidth=1)
    control = means[means.replay_fraction == 1]
    name = "replay only (control)" if place == 0 else None
    ax.plot(
        control.replay_fraction,
        control["mean"],
        color=colour,
        marker=marker,
        markerfacecolor="none",
        linestyle="none",
        label=name if len(control) else None,
    )


def _tolerance(ax: Axes, tolerance_nats: float) -> None:
    ax.axhline(
        tolerance_nats,
        color=theme.INK,
        linewidth=0.9,
        linestyle=(0, (4, 2)),
        label=f"tolerance {tolerance_nats:g}",
    )


def _alt(model: str, *, title: str, means: pd.DataFrame) -> str:
    ours = means[means.model == model]
    values = ", ".join(
        f"{row.policy_label} at replay {row.replay_fraction:g}: {row.mean:.3f}"
        for row in ours.itertuples()
    )
    return f"{title}, model {model}, nats per token. {values}."


def _caption(column: str) -> str:
    if column == "learning_nats":
        return (
            "How much the loss on later, unseen episodes of the new text fell (higher is better). "
            "Small dots are single seeds, bars 95 % intervals over seeds."
        )
    return (
        "How much the loss on unseen original text rose (lower is better, below zero it improved). "
        "Small dots are single seeds, bars 95 % intervals over seeds, the dashed line is the "
        "tolerance. The hollow point is the control that trains on original text only."
    )
