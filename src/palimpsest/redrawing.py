"""Draws figures of the report alone, from the tables and fits that stand."""

from __future__ import annotations

from pathlib import Path

from palimpsest import store
from palimpsest.core.plug_ins import nearest
from palimpsest.faults import Fault
from palimpsest.schedule import Schedule


def redraw(to_do: Schedule, names: list[str], folder: Path) -> list[Path]:
    """Write the SVG, PNG and CSV of some figures into a folder; return the SVG files.

    Raises Fault for an unknown figure, one that these tables do not support, or tables that are
    not built yet.
    """
    from palimpsest.core.plots.drawing import Missing
    from palimpsest.core.plots.every import FIGURES
    from palimpsest.stages import report

    known = {figure.__name__.replace("_", "-"): figure for figure in FIGURES}
    for name in names:
        if name not in known:
            raise Fault(f"--figure {name}: no such figure{nearest(name, list(known))}")
    frames = report.read(_input(to_do, "tables"), fits=_input(to_do, "fits"))
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name in names:
        drawing = known[name](frames)
        if isinstance(drawing, Missing):
            raise Fault(f"--figure {name}: not in this study: {drawing.reason}")
        drawn.append(folder / f"{report.publish(drawing, folder).name}.svg")
    return drawn


def _input(to_do: Schedule, role: str) -> Path:
    """Return the folder of an input of the report."""
    artifact = to_do.plan.last.inputs[role]
    assert not isinstance(artifact, list)
    try:
        return store.find(artifact.stage, artifact.name)
    except Fault:
        raise Fault(
            f"{role}: not built for these params; `palimpsest report` builds them"
        ) from None
