"""Forgetting and learning against the replay fraction, one panel per model size."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from palimpsest.core.answers.fitted import forgetting_curve, law_of, misfit, reason
from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import count
from palimpsest.core.plain_runs import is_bare
from palimpsest.core.plots import theme
from palimpsest.core.plots.drawing import Drawing, Missing, Panel
from palimpsest.core.seeds import over_seeds

MAX_POLICIES = 4
SHOWN = "Policies that were run at one share alone stand in the table of runs."
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
    runs = _swept(frames).dropna(subset=[column])
    if runs.empty:
        return Missing(name, title, "no finished run of one pass over the data in time order")
    means = over_seeds(runs, column, by=SETTING)
    drawn = np.concatenate([runs[column], means.low, means.high]).astype(float)
    paint = partial(
        _paint,
        frames=frames,
        runs=runs,
        means=means,
        column=column,
        label=label,
        limits=theme.span(drawn),
    )
    panels = tuple(
        Panel(
            title=f"{model}, {count(group.n_params.iloc[0])} parameters",
            paint=partial(paint, model=str(model)),
            alt=_alt(str(model), title=title, means=means),
        )
        for model, group in _in_order(runs, frames.sizes)
    )
    caption = _caption(column)
    if column == "forgetting_nats":
        caption += _fitted_words(frames)
    return Drawing(name, title, caption, panels, means)


def _swept(frames: Frames) -> pd.DataFrame:
    """Return the plain runs of the main policy and of those others run at most ratios."""
    plain = frames.plain_runs
    mixed = plain[(plain.replay_fraction < 1) & is_bare(plain.policy_label)]
    n_ratios = mixed.groupby("policy_label").replay_fraction.nunique().sort_values(ascending=False)
    several = n_ratios[n_ratios > 1].index[:MAX_POLICIES]
    return plain[plain.policy_label.isin({frames.main_policy, *several})]


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
    limits: tuple[float, float],
    model: str,
) -> None:
    theme.zero_line(ax)
    fitted = False
    if column == "forgetting_nats":
        _tolerance(ax, frames.tolerance_nats)
        fitted = _fit(ax, frames, means[means.model == model])
    labels = sorted(means.policy_label.unique(), key=lambda one: (one != frames.main_policy, one))
    for place, policy in enumerate(labels):
        ours = means[(means.model == model) & (means.policy_label == policy)]
        raw = runs[(runs.model == model) & (runs.policy_label == policy)]
        if len(ours):
            joined = not (fitted and place == 0)
            look = _look(frames, model, policy=policy, place=place, joined=joined)
            _means(ax, ours, look=look, control="replay only (control)" if place == 0 else None)
            dots = {"color": look["color"], "alpha": 0.55, "markersize": 3}
            ax.plot(raw.replay_fraction, raw[column], ".", **dots)
    theme.replay_axis(ax, frames.replay_fractions)
    ax.set_ylim(*limits)
    theme.few_ticks(ax)
    ax.set_ylabel(label)
    theme.legend_below(ax, columns=2 if len(labels) < 4 else 3)


def _look(frames: Frames, model: str, *, policy: str, place: int, joined: bool) -> dict[str, Any]:
    """Return how a policy's points look: the main one (place 0) in the size's colour."""
    line = theme.DASHES[place % len(theme.DASHES)] if joined else "none"
    if place > 0:
        marker = theme.other_marker(sorted(_swept(frames).policy_label.unique()), policy)
        return {"color": theme.MUTED, "marker": marker, "linestyle": line}
    sizes = frames.sizes
    colour, marker = theme.size_colour(sizes, model), theme.size_marker(sizes, model)
    return {"color": colour, "marker": marker, "linestyle": line}


def _means(ax: Axes, means: pd.DataFrame, *, look: dict[str, Any], control: str | None) -> None:
    """Draw one policy's means with their intervals; the replay-only control stands apart."""
    mixed = means[means.replay_fraction < 1]
    ax.plot(mixed.replay_fraction, mixed["mean"], label=means.policy_label.iloc[0], **look)
    sure = means.dropna(subset=["low"])
    ax.vlines(sure.replay_fraction, sure.low, sure.high, color=look["color"], linewidth=1)
    alone = means[means.replay_fraction == 1]
    if len(alone):
        apart = {**look, "linestyle": "none", "markerfacecolor": "none", "label": control}
        ax.plot(alone.replay_fraction, alone["mean"], **apart)


def _tolerance(ax: Axes, tolerance_nats: float) -> None:
    ax.axhline(
        tolerance_nats,
        color=theme.INK,
        linewidth=0.9,
        linestyle=(0, (4, 2)),
        label=f"tolerance {tolerance_nats:g}",
    )


def _fit(ax: Axes, frames: Frames, means: pd.DataFrame) -> bool:
    """Draw the law chosen for this size and say whether there is one; a misfit has no band."""
    model = str(means.model.iloc[0])
    name, curve = forgetting_curve(frames, model, int(means.n_params.iloc[0]))
    if curve.empty:
        return False
    colour = theme.size_colour(frames.sizes, model)
    curve = curve.sort_values("replay_fraction")
    x = curve.replay_fraction.to_numpy(dtype=float)
    label = f"law {law_of(frames, name)}"
    look: dict[str, Any] = {"color": theme.INK, "linewidth": 0.8}
    if misfit(frames.fits, name):
        ax.plot(x, curve.y, label=f"{label} (misfit)", linestyle=theme.DASHES[2], **look)
        return True
    ax.plot(x, curve.y, label=label, **look)
    if curve.low.notna().any():
        ax.fill_between(x, curve.low, curve.high, color=colour, alpha=0.25, linewidth=0)
    return True


def _alt(model: str, *, title: str, means: pd.DataFrame) -> str:
    ours = means[means.model == model]
    values = ", ".join(
        f"{row.policy_label} at replay {row.replay_fraction:g}: {row.mean:.3f}"
        for row in each(ours)
    )
    return f"{title}, model {model}, nats per token. {values}."


def _fitted_words(frames: Frames) -> str:
    """Say what the fitted laws' lines are, which miss their points, and which sizes have none."""
    models = dict(zip(frames.runs.model, frames.runs.n_params, strict=True))
    drawn = {m: forgetting_curve(frames, m, models[m]) for m in frames.sizes if m in models}
    bare = [model for model, (_, curve) in drawn.items() if curve.empty]
    missing = any(misfit(frames.fits, name) for name, _ in drawn.values())
    words = ""
    if len(bare) < len(drawn):
        words += (
            " The thin line is the fitted law that errs least on ratios left out, with its band."
        )
    if missing:
        words += (
            " A law marked as a misfit, dashed and without a band, lies farther from its points "
            "than the spread over seeds explains: nothing is read off it."
        )
    if bare:
        words += f" No law is drawn for {', '.join(bare)}: {reason(frames.fits, 'forgetting/')}."
    return words


def _caption(column: str) -> str:
    if column == "learning_nats":
        return (
            "How much the loss on later, unseen episodes of the new text fell (higher is better). "
            f"Small dots are single seeds, bars 95 % intervals over seeds. {SHOWN}"
        )
    return (
        "How much the loss on unseen original text rose (lower is better, below zero it improved). "
        "Small dots are single seeds, bars 95 % intervals over seeds, the dashed line is the "
        "tolerance. The hollow point is the control that trains on original text only, on as many "
        f"tokens as the new text has: fewer than the runs at high replay shares replay. {SHOWN}"
    )
