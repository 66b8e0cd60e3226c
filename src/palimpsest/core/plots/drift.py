"""Drift of the weights, and of what the model says, against forgetting."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from palimpsest.core.answers.frames import Frames
from palimpsest.core.plots import theme
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

NAME, TITLE = "drift", "Drift against forgetting and collapse"
CAPTION = (
    "Each point is a finished run (filled: without replay; hollow: with replay; cross: replay "
    "only). Drift of the weights: how far they moved, relative to their norm; of the predictions: "
    "how far those on original text moved from the base's (Kullback–Leibler divergence). "
    "Forgetting: the rise of the loss on original text; collapse, where benchmarks were run: that "
    "of one of them."
)
CLOCKS = {
    "relative_drift": ("weights", "relative drift of the weights"),
    "kl_original_nats": ("predictions", "KL(base ‖ now) on original text, nats"),
}

OUTCOMES = {"forgetting_nats": "Forgetting"}


def drift(frames: Frames) -> Drawing | Missing:
    """Draw forgetting, and a benchmark's collapse, against relative drift and KL, all runs."""
    columns = ["run", "model", "n_params", "seed", "policy_label", "replay_fraction"]
    table = frames.runs[[*columns, "mad_drift", *CLOCKS, "forgetting_nats"]]
    known = [clock for clock in CLOCKS if (table[clock] > 0).any()]
    if table.dropna(subset=["forgetting_nats"]).empty or not known:
        return Missing(NAME, TITLE, "no finished run measured its drift")
    outcomes = {"forgetting_nats": "forgetting, nats per token"}
    collapse, words = _collapse(frames.evals)
    if len(collapse):
        table = table.merge(collapse, on="run", how="left")
        outcomes["collapse"] = words
    panels = tuple(
        Panel(
            f"{OUTCOMES.get(outcome, label)} over drift of {CLOCKS[clock][0]}",
            partial(_paint, frames=frames, table=table, clock=clock, outcome=outcome, label=label),
            f"{label} against {CLOCKS[clock][1]}, {table[clock].notna().sum()} runs.",
        )
        for outcome, label in outcomes.items()
        for clock in known
    )
    return Drawing(NAME, TITLE, CAPTION, panels, table)


def _collapse(evals: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return each run's collapse of one benchmark (a perplexity if there is one), and its name."""
    usable = evals[(evals.verdict != "undefined") & evals.collapse.notna()]
    if usable.empty:
        return usable[["run", "collapse"]], ""
    metrics = usable[["task", "metric"]].drop_duplicates().sort_values(["task", "metric"])
    smooth = metrics[metrics.metric.str.contains("perplexity")]
    task, metric = (smooth if len(smooth) else metrics).iloc[0]
    ours = usable[(usable.task == task) & (usable.metric == metric)]
    return ours[["run", "collapse"]], f"Collapse of {task} {metric}"


def _paint(
    ax: Axes, *, frames: Frames, table: pd.DataFrame, clock: str, outcome: str, label: str
) -> None:
    sizes = frames.sizes
    theme.zero_line(ax)
    for model in sizes:
        ours = table[(table.model == model) & (table[clock] > 0)]
        colour, marker = theme.size_colour(sizes, model), theme.size_marker(sizes, model)
        for share, look in _looks(ours, marker):
            ax.plot(share[clock], share[outcome], color=colour, linestyle="none", **look)
        if len(ours):
            ax.plot([], [], color=colour, marker=marker, linestyle="none", label=model)
    theme.log_ticks(ax, "x")
    theme.few_ticks(ax)
    ax.set_xlabel(CLOCKS[clock][1])
    ax.set_ylabel(label if outcome in OUTCOMES else "collapse")
    theme.legend_below(ax, columns=4)


def _looks(table: pd.DataFrame, marker: str) -> list[tuple[pd.DataFrame, dict[str, Any]]]:
    replay = table.replay_fraction
    return [
        (table[replay == 0], {"marker": marker}),
        (table[(replay > 0) & (replay < 1)], {"marker": marker, "markerfacecolor": "none"}),
        (table[replay == 1], {"marker": "x"}),
    ]
