"""A plan and what is on disk → the runs by name, with how far each is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from palimpsest.faults import Fault
from palimpsest.plan import Artifact
from palimpsest.schedule import Schedule

# Roles of the tables' inputs by stage, and whether an entry names one artifact there or several.
ROLES = {
    "bases": "base",
    "probes": "probe",
    "train": "trains",
    "recall": "recall",
    "evals": "evals",
}
MOST_NAMES = 5  # of runs that a fault names
LISTS = {"train": "trains", "recall": "recalls"}  # roles that are called otherwise than the stage


def runs(to_do: Schedule, part: str = "") -> list[dict[str, Any]]:
    """Return the runs whose name holds `part`: label, key, experiments, artifacts by stage.

    Raises Fault if there is none.
    """
    tables = next(iter(to_do.plan.by_stage["tables"].values()))
    entries = [entry for entry in tables.spec["runs"] if part in entry["run"]]
    if not entries:
        raise no_such_run(part, [entry["run"] for entry in tables.spec["runs"]])
    return [_run(to_do, tables, entry) for entry in entries]


def no_such_run(asked: str, names: Iterable[str], several: Sequence[str] = ()) -> Fault:
    """Return the fault of a name that no run has, or that is part of several."""
    near = difflib.get_close_matches(asked, list(names), MOST_NAMES, cutoff=0.3)
    shown = sorted(several)[:MOST_NAMES] or near
    what = "is part of several runs" if several else "is no run"
    some = f"; take one of {', '.join(shown)}" if shown else ""
    return Fault(f"{asked}: {what}{some}; `palimpsest show` lists all")


def _run(to_do: Schedule, tables: Artifact, entry: dict[str, Any]) -> dict[str, Any]:
    label, _, key = str(entry["run"]).rpartition("-")
    stages = {stage: _artifacts(tables, entry, stage) for stage in ROLES}
    return {
        "run": entry["run"],
        "label": label,
        "key": key,
        "experiments": entry["experiments"],
        "stages": {
            stage: {
                "asked": len(artifacts),
                "stand": sum(not to_do.is_missing(artifact) for artifact in artifacts),
            }
            for stage, artifacts in stages.items()
        },
    }


def _artifacts(tables: Artifact, entry: dict[str, Any], stage: str) -> list[Artifact]:
    """Return the artifacts of a run in a stage; a run of another seed may have no benchmarks."""
    places = entry[ROLES[stage]]
    members = tables.inputs[LISTS.get(stage, stage)]
    assert isinstance(members, list)
    if places is None:
        return []
    return [members[place] for place in (places if isinstance(places, list) else [places])]


def runs_table(found: list[dict[str, Any]]) -> Group:
    """Draw what `runs` returns."""
    table = Table(box=None, pad_edge=False)
    for column in ("run", "key", *ROLES):
        table.add_column(column, justify="right" if column in ROLES else "left", overflow="fold")
    for run in found:
        table.add_row(run["label"], run["key"], *map(_state, run["stages"].values()))
    ready = sum(_is_ready(run) for run in found)
    told = f"Runs: {len(found)}, trained: {ready}. `palimpsest show RUN STEP` shows a batch."
    return Group(table, Text(told))


def _state(counts: dict[str, int]) -> str:
    """Say in a word how far a run is in a stage."""
    asked, stand = counts["asked"], counts["stand"]
    if not asked:
        return "–"
    if asked == stand:
        return "stands" if asked == 1 else f"{asked} stand"
    return "missing" if not stand else f"{stand} of {asked}"


def _is_ready(run: dict[str, Any]) -> bool:
    train = run["stages"]["train"]
    return bool(train["asked"] == train["stand"])
