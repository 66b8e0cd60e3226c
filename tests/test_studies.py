"""The studies that come with the program: each one plans, and holds what its head says."""

import csv
from pathlib import Path

import pytest

from palimpsest import params as P
from palimpsest.experiments import Phase, runs, unknown
from palimpsest.overview import estimate

ROOT = Path(__file__).resolve().parent.parent
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))
EARLIER = ROOT / "studies" / "earlier.yaml"
RECORDED = ROOT.parent / "shared" / "reference" / "earlier_results.csv"


def test_plan_names_the_earlier_runs_that_it_leaves_out(project):
    totals = estimate(EARLIER)
    assert totals["stages"]["train"]["artifacts"] == 2 * (8 * 2 + 1 + 1)
    assert totals["unknown"]["rw_1"] == ["stream.beyond_context"]
    pile_only = ["model", "stream.n_new_tokens", "stream.batch_tokens", "policy.learning_rate"]
    assert totals["unknown"]["pile-only"] == pile_only


def test_all_questions_take_at_most_three_hours_on_two_cores(project):
    assert 1 < estimate(ROOT / "studies" / "full.yaml")["wall_hours"] < 3


def test_all_questions_are_run_with_three_seeds():
    found = list(runs(P.load(ROOT / "studies" / "full.yaml")))
    seeds: dict[str, set[int]] = {}
    for run in found:
        seeds.setdefault(run.experiment, set()).add(run.seed)
    assert set(map(frozenset, seeds.values())) == {frozenset({0, 1, 2})}


def test_the_earlier_runs_are_there_by_name():
    """Runs with all settings recorded are planned, the others are named with what is missing."""
    params = P.load(EARLIER)
    planned = {run.experiment for run in runs(params)}
    names = {f"rw_{n}" for n in range(1, 7)} | {f"combined_training_{n}" for n in range(1, 6)}
    assert names | {"dnd", "dnd-5e-6", "dnd-batch-2", "pile-only", "epochs"} == set(
        params.experiments
    )
    assert planned == set(params.experiments) - set(unknown(params))
    assert planned == {"dnd", "dnd-5e-6", "dnd-batch-2"}
    dnd = [run for run in runs(params) if run.experiment == "dnd" and run.model == "pythia-70m"]
    rates = sorted(run.trainings[0].policy["learning_rate"] for run in dnd)
    assert rates == pytest.approx([10.0**-n for n in range(10, 2, -1) for _ in range(2)])
    assert {run.trainings[0].stream["repeats"] for run in dnd} == {1, 4}


@pytest.mark.skipif(not RECORDED.is_file(), reason="the earlier results are not beside the project")
def test_the_earlier_runs_have_the_recorded_settings():
    params = P.load(EARLIER)
    for row in csv.DictReader(RECORDED.open(encoding="utf-8")):
        if row["experiment"] == "base":
            continue
        said = params.experiments[row["experiment"]]
        stream, policy = said["stream"], said.get("policy", params.phase["policy"])
        assert said["model"] == row["model"] and stream["kind"] == row["mode"]
        assert said.get("replay_fraction", 0) == float(row["replay_ratio"])
        for column, section, field in (
            ("window_tokens", stream, "window"),
            ("stride_tokens", stream, "stride"),
            ("stride_fraction", stream, "stride_fraction"),
            ("max_tokens", stream, "max_tokens"),
            ("learning_rate", policy, "learning_rate"),
            ("start_learning_rate", policy, "start"),
        ):
            recorded = float(row[column]) if row[column] else "unknown"
            assert section.get(field, "unknown") == recorded, (row["experiment"], field)
        assert policy["kind"] == (row["lr_policy"] or "unknown")


def test_every_run_trains():
    for study in STUDIES:
        for run in runs(P.load(study)):
            assert isinstance(run.phases[0], Phase), Path(study).stem
