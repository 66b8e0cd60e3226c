"""What each protection gains on plain replay at equal learning, by strength (question 12)."""

from __future__ import annotations

from functools import partial

import pandas as pd

from palimpsest.core.answers.frames import Frames
from palimpsest.core.answers.protections import METHODS, SMALL_NATS, compared, gain_cells
from palimpsest.core.plots import forest, theme
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

NAME, TITLE = "protections", "Protections against plain replay at equal learning"
CAPTION = (
    "How much less a protected run forgets than plain replay of the same size and seed that "
    "learned as much; means over seeds with 95 % intervals, above zero the protection is better. "
    "Dashed: the gain that question 12 asks for. A size without a point learned less, or more, "
    "than plain replay at any ratio tried, so that nothing can be compared."
)
STRENGTHS = {
    "ewc": "strength of the penalty",
    "prune_drift": "share of the weights returned to θ₀",
    "interpolate": "α: share of the change that is kept",
}


def protections(frames: Frames) -> Drawing | Missing:
    """Draw the gains that question 12 decides on, a panel for each method."""
    runs = compared(frames)
    cells = gain_cells(runs[runs.kind != "plain"])
    if cells.empty:
        return Missing(NAME, TITLE, "no run with EWC, consolidation, pruned drift or interpolation")
    cells = forest.by_size(cells.assign(strength=cells.method_strength.fillna(0.0)))
    if cells["mean"].isna().all():
        reason = "no protected run learned as much as some mixture of plain replay"
        return Missing(NAME, TITLE, reason)
    limits = theme.span(cells[["mean", "low", "high"]].to_numpy().ravel())
    panels = tuple(
        _panel(frames, ours, str(kind), limits) for kind, ours in cells.groupby("kind", sort=False)
    )
    return Drawing(NAME, TITLE, CAPTION, panels, cells)


def _panel(frames: Frames, cells: pd.DataFrame, kind: str, limits: tuple[float, float]) -> Panel:
    at = sorted(cells.strength.unique())
    places = forest.Places(
        at="strength",
        names=forest.named(at, [f"{one:g}" if one else "" for one in at]),
        x_label=STRENGTHS.get(kind, ""),
        y_label="forgets less by, nats",
        claim=SMALL_NATS,
        claim_label=f"{SMALL_NATS:g} nats",
        words="not comparable",
        limits=limits,
    )
    title = METHODS.get(kind, kind)
    paint = partial(forest.paint, frames=frames, cells=cells, places=places)
    return Panel(title, paint, f"{TITLE}: {title}. {forest.spoken(cells, places)}.")
