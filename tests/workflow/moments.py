"""A change that costs no torch, and the moments of building it."""

from collections.abc import Callable

from project import Project

MOMENTS = {  # something new in one of these folders tells how far the work is
    "planned": ".work/batches/tables",
    "tables begun": ".work/scratch/tables",
    "tables built": "runs/tables",
    "fits begun": ".work/scratch/fits",
    "fits built": "runs/fits",
    "results swapped": "results",
}


def rename(study: Project) -> None:
    """Change the study so that tables, fits and report are to be built, which cost no torch."""
    study.edit("params.yaml", "  memory-high:", "  memory:")


def new_folder(study: Project, below: str) -> Callable[[], bool]:
    """Return a condition: there is a folder that was not there before."""
    place = study.folder / below
    before = set(place.glob("*"))
    return lambda: bool(set(place.glob("*")) - before)
