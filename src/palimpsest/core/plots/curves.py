"""Training curves of the main policy by replay: both losses over the steps of each run."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import percent
from palimpsest.core.plots import theme
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

NAME, TITLE = "curves", "Training curves by replay"
CAPTION = (
    "The runs of the main policy, first seed: the loss on the new text in each batch before its "
    "step (points; line: rolling average), and the loss on held-out original text at the "
    "checkpoints. Line styles are replay fractions."
)


def curves(frames: Frames) -> Drawing | Missing:
    """Draw L_D by step and L_P by checkpoint per size, one line for each replay fraction."""
    runs = frames.plain_runs
    runs = runs[(runs.policy_label == frames.main_policy)]
    runs = runs[runs.seed == runs.seed.min()].sort_values(["n_params", "replay_fraction"])
    if runs.empty or frames.steps.empty:
        return Missing(NAME, TITLE, "no finished run of one pass over the data in time order")
    models = [model for model in frames.sizes if model in set(runs.model)]
    panels = [_panel(frames, runs, model, what) for what in ("new", "original") for model in models]
    return Drawing(NAME, TITLE, CAPTION, tuple(panels), with_checkpoints(frames, runs))


def _panel(frames: Frames, runs: pd.DataFrame, model: str, what: str) -> Panel:
    paint, words = {
        "new": (_paint_new, "new text"),
        "original": (_paint_original, "original text"),
    }[what]
    ours = runs[runs.model == model]
    return Panel(
        f"{model}: {words}",
        partial(paint, frames=frames, runs=ours),
        f"{words} over the steps, model {model}, replay fractions "
        + ", ".join(percent(replay) for replay in ours.replay_fraction),
    )


def _paint_new(ax: Axes, *, frames: Frames, runs: pd.DataFrame) -> None:
    for run in each(runs):
        ours = frames.steps[frames.steps.run == run.run].dropna(subset=["loss_new_nats"])
        if ours.empty:
            continue
        values = ours.loss_new_nats.to_numpy()
        look = _look(frames, run)
        ax.plot(ours.step, values, ".", color=look["color"], alpha=0.25, markersize=2)
        ax.plot(ours.step, theme.rolling_mean(values, max(len(values) // 10, 3)), **look)
    _finish(ax, "loss on new text, nats")


def _paint_original(ax: Axes, *, frames: Frames, runs: pd.DataFrame) -> None:
    for run in each(runs):
        ours = original_losses(frames.held_out, str(run.run))
        ax.plot(ours.index, ours, marker=".", markersize=3, **_look(frames, run))
    _finish(ax, "loss on original text, nats")


def original_losses(held_out: pd.DataFrame, run: str) -> pd.Series:
    """Return the token-weighted mean loss on held-out original text by checkpoint step."""
    ours = held_out[(held_out.run == run) & (held_out.corpus == "original")]
    sums = ours.assign(sum_nats=ours.loss_nats * ours.n_tokens).groupby("checkpoint_step")
    return sums.sum_nats.sum() / sums.n_tokens.sum()


def _look(frames: Frames, run: Any) -> dict[str, Any]:
    replay = float(run.replay_fraction)
    return {
        "color": theme.size_colour(frames.sizes, str(run.model)),
        "linestyle": theme.dashes(frames.replay_fractions, replay),
        "linewidth": 1.2,
        "label": percent(replay),
    }


def _finish(ax: Axes, label: str) -> None:
    theme.few_ticks(ax)
    ax.set_xlabel("step")
    ax.set_ylabel(label)
    theme.legend_below(ax, columns=5)


def with_checkpoints(frames: Frames, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the steps of some runs, and their loss on original text at the checkpoints."""
    columns = [
        "run",
        "step",
        "learning_rate",
        "loss_new_nats",
        "loss_replay_nats",
        "decrease_asked",
        "decrease_achieved",
    ]
    steps = frames.steps[frames.steps.run.isin(runs.run)][columns].copy()
    losses = [
        original_losses(frames.held_out, str(run))
        .rename("loss_original_nats")
        .reset_index()
        .assign(run=run)
        .rename(columns={"checkpoint_step": "step"})
        for run in runs.run
    ]
    checkpoints = pd.concat(losses, ignore_index=True)
    merged = steps.merge(checkpoints, on=["run", "step"], how="outer")
    assert np.isin(merged.run.unique(), runs.run).all()
    return merged.sort_values(["run", "step"], ignore_index=True)
