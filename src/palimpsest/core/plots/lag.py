"""Forgetting of pieces against the lag since they were last seen, on several clocks."""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.axes import Axes

from palimpsest.core.answers.clocks import CLOCK_WORDS, comparable, mean_curves
from palimpsest.core.answers.frames import Frames
from palimpsest.core.plots import theme
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

NAME, TITLE = "lag", "Forgetting against the time since a piece was seen"
CAPTION = (
    "Mean rise of a piece's loss since just after its last training step, against what has passed "
    "since then, on {clocks}; runs without replay, one line each. The better the lines of all "
    "sizes and rates coincide, the better the clock."
)
LEFT_OUT = (
    " Faint, without marks: runs that question 14 does not compare, since more than size and rate "
    "sets them apart (order, repeats, epochs, phases, stream or a protection)."
)


def lag(frames: Frames) -> Drawing | Missing:
    """Draw the runs' forgetting curves on each clock."""
    columns = ["run", "model", "n_params", "learning_rate", "replay_fraction"]
    table = frames.lag.merge(frames.runs[columns], on="run")
    table = table[(table.replay_fraction == 0) & (table.lag_steps > 0)].dropna(subset=["F"])
    if table.empty:
        return Missing(
            NAME, TITLE, "no run without replay measured its pieces at later checkpoints"
        )
    curves = mean_curves(table, of="run")
    curves = curves.assign(compared=curves.run.isin(comparable(frames).run))
    clocks = [clock for clock in CLOCK_WORDS if (curves[clock] > 0).any()]
    panels = tuple(
        Panel(
            CLOCK_WORDS[clock],
            partial(_paint, frames=frames, curves=curves, clock=clock),
            f"Forgetting against {CLOCK_WORDS[clock]} since a piece was seen, "
            f"{curves.run.nunique()} runs.",
        )
        for clock in clocks
    )
    caption = CAPTION.format(clocks=_clocks(clocks)) + LEFT_OUT * (not curves.compared.all())
    return Drawing(NAME, TITLE, caption, panels, curves)


def _clocks(measured: list[str]) -> str:
    """Say on how many clocks, and which of them these runs did not measure."""
    absent = ", ".join(name for clock, name in CLOCK_WORDS.items() if clock not in measured)
    return f"{len(measured)} clocks" + (
        f" ({absent}: not measured in these runs)" if absent else ""
    )


def _paint(ax: Axes, *, frames: Frames, curves: pd.DataFrame, clock: str) -> None:
    sizes = frames.sizes
    theme.zero_line(ax)
    for _, ours in curves.groupby("run"):
        line = ours[ours[clock] > 0].sort_values(clock)
        model = str(ours.model.iloc[0])
        mark = {"marker": theme.size_marker(sizes, model), "markersize": 2.4, "linewidth": 0.9}
        look = mark if ours.compared.iloc[0] else {"alpha": 0.35, "linewidth": 0.7}
        ax.plot(line[clock], line.F, color=theme.size_colour(sizes, model), **look)
    for model in (model for model in sizes if model in set(curves.model)):
        colour, marker = theme.size_colour(sizes, model), theme.size_marker(sizes, model)
        ax.plot([], [], color=colour, marker=marker, label=model)
    theme.log_ticks(ax, "x")
    theme.few_ticks(ax)
    ax.set_xlabel(f"{CLOCK_WORDS[clock]} since last seen")
    ax.set_ylabel("F, nats per token")
    theme.legend_below(ax, columns=4)
