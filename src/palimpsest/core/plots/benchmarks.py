"""Collapse of each benchmark task against the replay fraction, all sizes in one panel."""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.axes import Axes

from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import between, plain
from palimpsest.core.plots import theme
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

NAME, TITLE = "benchmarks", "Benchmark collapse against replay"
CAPTION = (
    "Share of the base's lead over chance that training removed (accuracies), or the rise of the "
    "logarithm of perplexity; bars are 95 % intervals, the dashed line is the tolerance. Above the "
    "line with its whole bar: collapsed; below it with its whole bar: prevented."
)


def benchmarks(frames: Frames) -> Drawing | Missing:
    """Draw the collapse per task and metric of the main policy's runs, with error bars."""
    table = usable(frames)
    if table.empty:
        reason = "no benchmark was run, or no base is far enough above chance to lose anything"
        return Missing(NAME, TITLE, reason)
    panels = tuple(
        Panel(f"{task}, {metric}", partial(_paint, frames=frames, table=ours), _alt(ours))
        for (task, metric), ours in table.groupby(["task", "metric"])
    )
    return Drawing(NAME, TITLE, CAPTION, panels, table)


def usable(frames: Frames) -> pd.DataFrame:
    """Return the evals of plain runs of the main policy where collapse is defined."""
    runs = frames.plain_runs
    runs = runs[runs.policy_label == frames.main_policy]
    evals = frames.evals[frames.evals.run.isin(runs.run) & (frames.evals.verdict != "undefined")]
    columns = ["run", "model", "seed", "replay_fraction", "policy_label", "task", "metric"]
    values = ["collapse", "low", "high", "tolerance", "verdict"]
    table = evals.dropna(subset=["collapse"])[[*columns, *values]]
    return table.merge(runs[["run", "n_params"]], on="run").sort_values(
        ["task", "metric", "n_params", "replay_fraction", "seed"], ignore_index=True
    )


def _paint(ax: Axes, *, frames: Frames, table: pd.DataFrame) -> None:
    sizes = frames.sizes
    theme.zero_line(ax)
    ax.axhline(
        float(table.tolerance.iloc[0]), color=theme.INK, linewidth=0.9, linestyle=(0, (4, 2))
    )
    shown = [model for model in sizes if model in set(table.model)]
    for place, model in enumerate(shown):
        shift = 0.012 * (place - (len(shown) - 1) / 2)  # side by side, not on top of each other
        _size(ax, table[table.model == model], shift=shift, sizes=sizes)
    theme.replay_axis(ax, frames.replay_fractions)
    theme.few_ticks(ax)
    perplexity = "perplexity" in str(table.metric.iloc[0])
    ax.set_ylabel("ln perplexity / base" if perplexity else "lost share of lead over chance")
    theme.legend_below(ax, columns=4)


def _size(ax: Axes, table: pd.DataFrame, *, shift: float, sizes: list[str]) -> None:
    model = str(table.model.iloc[0])
    colour = theme.size_colour(sizes, model)
    first = table[table.seed == table.seed.min()]
    mixed = first[first.replay_fraction < 1]
    ax.plot(mixed.replay_fraction + shift, mixed.collapse, color=colour, linewidth=1, alpha=0.8)
    ax.vlines(table.replay_fraction + shift, table.low, table.high, color=colour, linewidth=1)
    ax.plot(
        table.replay_fraction + shift,
        table.collapse,
        color=colour,
        marker=theme.size_marker(sizes, model),
        linestyle="none",
        label=model,
    )


def _alt(table: pd.DataFrame) -> str:
    first = table[table.seed == table.seed.min()]
    values = "; ".join(
        f"{row.model} at replay {row.replay_fraction:g}: {plain(row.collapse)} "
        f"({between(row.low, row.high, decimals=2)})"
        for row in each(first)
    )
    return f"Collapse of {table.task.iloc[0]} {table.metric.iloc[0]}: {values}."
