"""The study of all modes: it names every kind that there is, and every stage builds them."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from project import checked_out

from palimpsest import params as P
from palimpsest.core.plug_ins import kinds
from palimpsest.core.streams.settings import Order
from palimpsest.experiments import Phase, Run, runs

ROOT = Path(__file__).resolve().parent.parent
MODES = ROOT / "studies" / "modes.yaml"


@pytest.fixture(scope="module")
def modes() -> list[Run]:
    return list(runs(P.load(MODES)))


def trainings(modes: list[Run]) -> list[Phase]:
    return [phase for run in modes for phase in run.trainings]


def used(modes: list[Run], section: str, field: str) -> set[Any]:
    """Return what a field of a section is in any training phase."""
    found = set()
    for phase in trainings(modes):
        content = phase.model_dump(mode="json")[section]
        if content is not None and field in content:
            found.add(content[field])
    return found


def choices(model: Any, field: str) -> set[Any]:
    """Return what a field of a closed set may be."""
    return set(get_args(model.model_fields[field].annotation))


def test_every_plug_in_is_run(modes):
    assert used(modes, "stream", "kind") == set(kinds("streams"))
    assert used(modes, "policy", "kind") == set(kinds("policies"))
    edits = {p.model_dump()["kind"] for r in modes for p in r.phases if not isinstance(p, Phase)}
    assert edits == set(kinds("edits"))


def test_every_choice_of_a_field_is_run(modes):
    assert used(modes, "stream", "order") == used(modes, "stream", "replay_order")
    assert used(modes, "stream", "order") == set(get_args(Order))
    assert used(modes, "optimizer", "kind") == choices(P.Optimizer, "kind")
    assert used(modes, "checkpoints", "kind") == choices(P.Checkpoints, "kind")


def test_every_field_of_a_phase_is_set_somewhere(modes):
    """A field that a run can have, but that no run here has, would be a mode that is not tried."""
    for name, field in Phase.model_fields.items():
        default = field.get_default()
        if name not in ("kind", "stream", "policy", "optimizer", "probe_replay"):
            assert any(getattr(phase, name) != default for phase in trainings(modes)), name
    assert {run.base_step for run in modes} == {40, "final"}
    assert {len(run.phases) for run in modes} == {1, 2}


@pytest.mark.modes
def test_all_modes_are_built(tmp_path: Path):
    built = checked_out(ROOT, tmp_path / "modes")
    built.use("studies/modes.yaml")
    built.run("snakemake", "--cores", "2")
    assert not built.missing()
    phases = (built.folder / "runs" / "train").glob("*/phase.json")
    reasons = {file.parent.name: json.loads(file.read_text())["stop_reason"] for file in phases}
    ended = {name: reason for name, reason in reasons.items() if reason != "epochs"}
    assert sorted(ended.values()) == ["steps"], ended
    assert (built.folder / "results" / "report" / "index.html").stat().st_size > 10_000
