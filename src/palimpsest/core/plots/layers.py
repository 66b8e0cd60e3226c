"""Drift of the weights by layer, one line for each checkpoint of a run, per size."""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.axes import Axes

from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import percent
from palimpsest.core.plots import theme
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

NAME, TITLE = "layers", "Drift by layer over time"
CAPTION = (
    "How far a weight of each layer moved from the base on average (MAD). One run per size: the "
    "one with the most checkpoints (of equals, the least replay); one line for each checkpoint, "
    "the later the stronger."
)


def layers(frames: Frames) -> Drawing | Missing:
    """Draw the mean absolute drift per layer at every checkpoint of one run per size."""
    if frames.drift.empty:
        return Missing(NAME, TITLE, "no run measured its drift")
    runs = _runs(frames)
    table = by_layer(frames.drift[frames.drift.run.isin(runs.run)])
    panels = tuple(
        Panel(
            f"{run.model}, {run.policy_label}, replay {percent(run.replay_fraction)}",
            partial(_paint, frames=frames, model=str(run.model), table=table[table.run == run.run]),
            _alt(str(run.model), table[table.run == run.run]),
        )
        for run in each(runs)
    )
    return Drawing(NAME, TITLE, CAPTION, panels, table)


def by_layer(drift: pd.DataFrame) -> pd.DataFrame:
    """Return the mean absolute drift of whole layers: the mean over all weights of their groups."""
    keys = ["run", "checkpoint_step", "layer"]
    sums = drift.assign(absolute=drift.n_weights * drift.mad).groupby(keys)
    mad = sums.absolute.sum() / sums.n_weights.sum()
    return mad.rename("mad").reset_index()


def _runs(frames: Frames) -> pd.DataFrame:
    """Return one run per size: the most checkpoints, then the least replay, then the first seed."""
    counts = frames.drift.groupby("run").checkpoint_step.nunique().rename("n_checkpoints")
    known = frames.runs.merge(counts, on="run")
    keys = ["n_params", "n_checkpoints", "replay_fraction", "seed", "run"]
    ordered = known.sort_values(keys, ascending=[True, False, True, True, True])
    return ordered.drop_duplicates("model")


def _paint(ax: Axes, *, frames: Frames, model: str, table: pd.DataFrame) -> None:
    colour = theme.size_colour(frames.sizes, model)
    steps = sorted(step for step in table.checkpoint_step.unique() if step > 0)
    for place, step in enumerate(steps):
        ours = table[table.checkpoint_step == step].sort_values("layer")
        ends = place in (0, len(steps) - 1)
        ax.plot(
            ours.layer,
            ours.mad,
            color=colour,
            alpha=0.25 + 0.75 * (place + 1) / len(steps),
            marker=theme.size_marker(frames.sizes, model),
            markersize=3,
            label=f"step {step}" if ends else None,
        )
    _name_layers(ax, sorted(table.layer.unique()))
    ax.set_ylim(bottom=0)
    theme.few_ticks(ax)
    ax.set_ylabel("mean absolute drift (MAD)")
    theme.legend_below(ax)


def _name_layers(ax: Axes, known: list[int]) -> None:
    names = {known[0]: "embedding", known[-1]: "head"} if len(known) > 2 else {}
    shown = known if len(known) <= 8 else known[:: -(-len(known) // 6)]
    ax.set_xticks(shown, [names.get(layer, str(layer)) for layer in shown])
    ax.set_xlabel("layer")


def _alt(model: str, table: pd.DataFrame) -> str:
    last = table[table.checkpoint_step == table.checkpoint_step.max()].sort_values("layer")
    values = ", ".join(f"{row.layer}: {row.mad:.2g}" for row in each(last))
    return f"{TITLE}, model {model}. At the last checkpoint, by layer: {values}."
