"""Collapse of each benchmark over the new tokens seen, from checkpoints along the runs."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import between, count, percent, plain
from palimpsest.core.collapse import NORMAL_97_5
from palimpsest.core.plots import theme
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

NAME, TITLE = "benchmark-curves", "Benchmarks over checkpoints"
CAPTION = (
    "Collapse of each benchmark, by its first metric that has one, against the new tokens trained "
    "on; every line starts at the base, whose collapse is 0 by definition. Colours are sizes, line "
    "styles replay fractions, the dashed line across is the tolerance. Points are means over "
    "the seeds of a setting, where all of them were evaluated; bars are 95 % intervals over "
    "items, as wide as one run's, since seeds answer the same items. Of a setting that was run "
    "for several numbers of epochs the longest is drawn; pure replay sees no new tokens."
)
ABSENT = (
    "no run whose benchmarks have a collapse at more than one checkpoint; the line "
    "`checkpoints: all` under `evals:` in params.yaml evaluates all that runs keep, and "
    "`checkpoints: {kind: log, count: 6}` in an experiment, or several epochs, keeps some on the "
    "way"
)
MOST_WAYS = 3
WAY = ["policy_label", "stream", "order", "repeats", "n_phases"]
LINE = ["model", "n_params", "replay_fraction"]


def benchmark_curves(frames: Frames) -> Drawing | Missing:
    """Draw collapse over new tokens: a panel for each benchmark and each of a few settings."""
    if frames.evals_checkpoints.empty:  # a table without rows may lack its columns too
        return Missing(NAME, TITLE, ABSENT)
    rows = _rows(frames)
    if rows.empty:
        return Missing(NAME, TITLE, ABSENT)
    ways = _ways(rows, main=frames.main_policy)
    table = _means(rows.merge(ways.head(MOST_WAYS)[WAY], on=WAY))
    panels = tuple(
        Panel(
            f"{task}, {metric}: {_words(way)}",
            partial(_paint, frames=frames, table=ours),
            _alt(ours),
        )
        for way in each(ways.head(MOST_WAYS))
        for (task, metric), ours in _of(table, way).groupby(["task", "metric"])
    )
    left_out = len(ways) - MOST_WAYS
    more = f" {left_out} more settings stand in the tables." if left_out > 0 else ""
    return Drawing(NAME, TITLE, CAPTION + more, panels, table)


def _rows(frames: Frames) -> pd.DataFrame:
    """Return the checkpoints of runs evaluated at several; of a setting the longest run.

    A benchmark stands with its first metric that has a collapse.
    """
    known = frames.evals_checkpoints.dropna(subset=["collapse", "collapse_stderr"])
    known = known[known.replay_fraction < 1]
    known = known[known.metric == known.groupby("task").metric.transform("min")]
    several = known.groupby("run").checkpoint_step.transform("nunique") > 1
    names = ["run", "n_params", "stream", "order", "repeats", "epochs", "n_phases"]
    rows = known[several].merge(frames.runs[names], on="run")
    n_steps = rows.groupby("run").checkpoint_step.transform("nunique")
    ranked = rows.assign(n_checkpoints=n_steps).sort_values(
        ["epochs", "n_checkpoints", "run"], ascending=[False, False, True]
    )
    longest = ranked.drop_duplicates([*WAY, *LINE, "seed"]).run
    return ranked[ranked.run.isin(longest)]


def _ways(rows: pd.DataFrame, *, main: str) -> pd.DataFrame:
    """Return the settings, size and replay aside: the main policy first, then by checkpoints."""
    found = rows.groupby(WAY).agg(n_checkpoints=("n_checkpoints", "max"), n_runs=("run", "nunique"))
    found = found.reset_index().assign(other=lambda ways: ways.policy_label != main)
    by = ["other", "n_checkpoints", "n_runs", *WAY]
    return found.sort_values(by, ascending=[True, False, False, *[True] * len(WAY)])


def _means(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over seeds at each checkpoint that all seeds of a setting share."""
    line = [*WAY, *LINE, "task", "metric", "tolerance"]
    n_seeds = rows.groupby(line).seed.transform("nunique")
    groups = rows.assign(n_seeds=n_seeds).groupby([*line, "n_seeds", "checkpoint_step"])
    means = groups[["n_new_tokens", "collapse", "collapse_stderr"]].mean()
    means = means.assign(n_here=groups.seed.nunique()).reset_index()
    shared = means[means.n_here == means.n_seeds].drop(columns="n_here")
    half = NORMAL_97_5 * shared.collapse_stderr
    table = shared.assign(low=shared.collapse - half, high=shared.collapse + half)
    order = [*WAY, "task", "metric", "n_params", "replay_fraction", "checkpoint_step"]
    return table.sort_values(order, ignore_index=True)


def _of(table: pd.DataFrame, way: Any) -> pd.DataFrame:
    return table[(table[WAY] == [getattr(way, name) for name in WAY]).all(axis=1)]


def _words(way: Any) -> str:
    words = [str(way.policy_label)]
    words += [str(way.stream)] if way.stream != "chunks" else []
    words += [f"{way.order} order"] if way.order != "time" else []
    return ", ".join(words + ([f"{way.repeats} repeats"] if way.repeats > 1 else []))


def _paint(ax: Axes, *, frames: Frames, table: pd.DataFrame) -> None:
    theme.zero_line(ax)
    ax.axhline(
        float(table.tolerance.iloc[0]), color=theme.INK, linewidth=0.9, linestyle=(0, (4, 2))
    )
    for _, ours in table.groupby(LINE):
        model, replay = str(ours.model.iloc[0]), float(ours.replay_fraction.iloc[0])
        colour = theme.size_colour(frames.sizes, model)
        ax.vlines(ours.n_new_tokens, ours.low, ours.high, color=colour, linewidth=0.9)
        ax.plot(
            [0.0, *ours.n_new_tokens],
            [0.0, *ours.collapse],
            color=colour,
            linestyle=theme.dashes(frames.replay_fractions, replay),
            marker=theme.size_marker(frames.sizes, model),
            markevery=slice(1, None),
            linewidth=1.1,
            label=f"{model}, {percent(replay)} replay",
        )
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: count(tokens)))
    theme.few_ticks(ax)
    ax.set_xlabel("new tokens trained on")
    perplexity = "perplexity" in str(table.metric.iloc[0])
    ax.set_ylabel("ln perplexity / base" if perplexity else "lost share of lead over chance")
    theme.legend_below(ax, columns=3)


def _alt(table: pd.DataFrame) -> str:
    ends = table.groupby(LINE).tail(1)
    values = "; ".join(
        f"{row.model} at replay {percent(row.replay_fraction)}: {plain(row.collapse)} "
        f"({between(row.low, row.high, decimals=2)}) after {count(row.n_new_tokens)} new tokens"
        for row in each(ends)
    )
    n_points = table.checkpoint_step.nunique()
    return f"Collapse of {table.task.iloc[0]} at {n_points} checkpoints. Last: {values}."
