"""The smoke study as it was built: complete, and with the numbers that it must have."""

import csv
import json
from collections import Counter, defaultdict

import pytest

pytestmark = pytest.mark.smoke


def test_every_artifact_was_built_once_and_nothing_is_missing(smoke):
    built = Counter((entry["stage"], entry["name"]) for entry in smoke.ledger())
    assert set(built.values()) == {1}
    wanted = {stage: content["wanted"] for stage, content in smoke.status().items()}
    assert Counter(stage for stage, _ in built) == wanted
    assert not smoke.missing()


def test_few_processes_build_many_artifacts(smoke):
    """A process that loads torch costs more than most artifacts: one per core and stage."""
    processes = defaultdict(set)
    for entry in smoke.ledger():
        processes[entry["stage"]].add(entry["process"])
    assert all(len(started) <= 2 for started in processes.values())


def test_no_scratch_is_left(smoke):
    assert not smoke.contents(".work/scratch")


def test_dvc_has_recorded_it(smoke):
    assert smoke.run("dvc", "status", "--quiet", check=False).returncode == 0


def test_a_page_and_its_tables_are_there_to_open(smoke):
    results = smoke.folder / "results" / "report"
    assert (results / "index.html").stat().st_size > 10_000
    assert (results / "tables" / "runs.csv").exists()


def test_every_training_takes_steps(smoke):
    phases = (smoke.folder / "runs" / "train").glob("*/phase.json")
    reasons = {file.parent.name: json.loads(file.read_text())["stop_reason"] for file in phases}
    assert set(reasons.values()) == {"epochs"}, reasons


def test_two_seeds_differ_at_every_replay_ratio(smoke):
    table = smoke.folder / "results" / "report" / "tables" / "runs.csv"
    losses = defaultdict(dict)
    with table.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["model"] == "neox-6k" and row["policy"] == "hold":
                losses[row["replay_fraction"]][row["seed"]] = row["loss_new_nats"]
    several = {ratio: by_seed for ratio, by_seed in losses.items() if len(by_seed) > 1}
    assert sorted(map(float, several)) == [0.0, 0.5]
    assert all(len(set(by_seed.values())) == 3 for by_seed in several.values())


def test_artifacts_tell_nothing_of_this_machine(smoke):
    place = str(smoke.folder).encode()
    assert not [name for name, content in smoke.contents("runs").items() if place in content]
