"""What ordering by difficulty gains, of the new text and of the replayed (question 11)."""

from __future__ import annotations

from functools import partial
from typing import Any

from palimpsest.core.answers.frames import Frames
from palimpsest.core.answers.numbers import percent
from palimpsest.core.answers.schedule import ORDERS, SMALL_NATS, order_gains
from palimpsest.core.plots import forest, theme
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

NAME, TITLE = "difficulty", "What ordering by difficulty gains"
CAPTION = (
    "Of the new text: learning in the order minus learning in time order. Of the replayed text: "
    "forgetting with the usual order minus forgetting with the order. Means over seeds with 95 % "
    "intervals; above zero the order helps. Dashed: the gain that question 11 asks for."
)
GAINS = {"new": "learning gained, nats", "replayed": "forgetting avoided, nats"}


def difficulty(frames: Frames) -> Drawing | Missing:
    """Draw the gains that question 11 decides on, a panel for each setting's data and replay."""
    cells = order_gains(frames)
    if cells.empty:
        return Missing(NAME, TITLE, "no run in order of difficulty beside one in time order")
    cells = forest.by_size(cells.sort_values(["n_params", "order"]))
    limits = theme.span(cells[["mean", "low", "high"]].to_numpy().ravel())
    panels = []
    by = ["of", "policy_label", "replay_fraction", "stream", "repeats"]
    key: Any
    for key, ours in cells.groupby(by):
        of, policy, ratio, stream, repeats = key
        places = forest.Places(
            at="order",
            names=forest.named(ORDERS, ORDERS),
            x_label=f"order of the {of} text, against the usual",
            y_label=GAINS[of],
            claim=SMALL_NATS,
            claim_label=f"{SMALL_NATS:g} nats",
            words="not run",
            limits=limits,
        )
        title = f"{of} text, {policy}, {percent(ratio)} replay"
        title += f", {stream}" if cells.stream.nunique() > 1 else ""
        title += f", {repeats} repeats" if repeats > 1 else ""
        paint = partial(forest.paint, frames=frames, cells=ours, places=places)
        panels.append(Panel(title, paint, f"{TITLE}: {title}. {forest.spoken(ours, places)}."))
    return Drawing(NAME, TITLE, CAPTION, tuple(panels), cells)
