"""Forgetting by how long the base was pretrained (question 13)."""

from __future__ import annotations

from functools import partial

import pandas as pd

from palimpsest.core.answers.frames import Frames
from palimpsest.core.answers.schedule import SMALL_NATS, by_base
from palimpsest.core.plots import forest
from palimpsest.core.plots.drawing import Drawing, Missing, Panel
from palimpsest.core.seeds import over_seeds

NAME, TITLE = "longer-base", "Forgetting by how long the base was pretrained"
CAPTION = (
    "First: forgetting of the same settings from bases of more and more pretraining. Then: the "
    "same minus that from the least-trained base, seed by seed; the last place is what question 13 "
    "decides on, dashed the difference it asks for. Means over seeds with 95 % intervals."
)


def longer_base(frames: Frames) -> Drawing | Missing:
    """Draw forgetting by base step, and its gap to that from the least-trained base."""
    rows = by_base(frames)
    if rows.empty:
        return Missing(NAME, TITLE, "no setting was run from several checkpoints of one base")
    further = rows[rows.base_step > rows.groupby(["model", "seed"]).base_step.transform("min")]
    sides = {
        "forgetting": (_by_step(rows, "forgetting_nats"), "forgetting, nats per token", None),
        "against the least-trained base": (
            _by_step(further, "gap"),
            "forgetting more by, nats",
            SMALL_NATS,
        ),
    }
    panels = tuple(_panel(frames, what, *side) for what, side in sides.items())
    data = pd.concat([side[0].assign(of=what) for what, side in sides.items()])
    return Drawing(NAME, TITLE, CAPTION, panels, data)


def _by_step(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return means over seeds by size at each base step, the spread pooled within a step."""
    parts = [
        over_seeds(ours, column, by=["model", "n_params", "base_step"])
        for _, ours in rows.groupby("base_step")
    ]
    cells = pd.concat(parts, ignore_index=True)
    return forest.by_size(cells.sort_values(["n_params", "base_step"], ignore_index=True))


def _panel(
    frames: Frames, what: str, cells: pd.DataFrame, label: str, claim: float | None
) -> Panel:
    at = sorted(cells.base_step.unique())
    places = forest.Places(
        at="base_step",
        names=forest.named(at, [f"{int(one)}" for one in at]),
        x_label="steps of pretraining behind the base",
        y_label=label,
        claim=claim,
        claim_label="" if claim is None else f"{claim:g} nats",
    )
    paint = partial(forest.paint, frames=frames, cells=cells, places=places)
    return Panel(what, paint, f"{TITLE}, {what}. {forest.spoken(cells, places)}.")
