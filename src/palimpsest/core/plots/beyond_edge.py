"""The share of steps that lie beyond their own edge, by the fixed rate (question 5)."""

from __future__ import annotations

from functools import partial

import numpy as np

from palimpsest.core.answers.frames import Frames
from palimpsest.core.answers.numbers import percent, rate
from palimpsest.core.answers.rates import FEW_STEPS, edge_shares
from palimpsest.core.plots import forest, theme
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

NAME, TITLE = "beyond-edge", "Steps beyond their own edge, by learning rate"
CAPTION = (
    "Share of the measured steps whose fixed rate lay above the smallest rate at which that very "
    "step raises the loss; bars are 95 % intervals, wide enough for steps of one run not being "
    "independent. Dashed: the 5 % that question 5 asks about. Without a bar: no repeated seed."
)


def beyond_edge(frames: Frames) -> Drawing | Missing:
    """Draw the shares that question 5 decides on, one panel for each replay fraction."""
    cells = edge_shares(frames)
    if cells.empty:
        return Missing(NAME, TITLE, "no fixed-rate run was measured against the edge of its steps")
    rates = dict(zip(frames.runs.policy_label, frames.runs.learning_rate, strict=True))
    cells = cells.assign(learning_rate=cells.policy_label.map(rates))
    cells = forest.by_size(cells[cells.order == "time"].sort_values(["n_params", "learning_rate"]))
    cells = cells.drop_duplicates(["model", "learning_rate", "replay_fraction"])
    at = sorted(cells.learning_rate.unique())
    places = forest.Places(
        at="learning_rate",
        names=forest.named(at, [rate(one) for one in at]),
        x_label="fixed learning rate η",
        y_label="share of steps beyond the edge",
        claim=FEW_STEPS,
        claim_label=percent(FEW_STEPS),
        limits=theme.span(np.append(cells[["mean", "low", "high"]].to_numpy(), FEW_STEPS)),
    )
    panels = tuple(
        Panel(
            f"{ratio} replay",
            partial(forest.paint, frames=frames, cells=ours, places=places),
            f"{TITLE}, {ratio} replay. {forest.spoken(ours, places)}.",
        )
        for ratio, ours in cells.groupby(cells.replay_fraction.map(percent), sort=False)
    )
    return Drawing(NAME, TITLE, CAPTION, panels, cells)
