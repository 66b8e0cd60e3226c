"""The controlling process is killed; `palimpsest recover` goes on, and nothing is done twice."""

from collections import Counter
from types import SimpleNamespace

import pytest
from attempts import overlaps
from project import kill, wait_until

from palimpsest.site import PROFILE

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def run(untrained, cluster) -> SimpleNamespace:
    """Kill the controller while two training jobs run and others wait; try again; recover."""
    study, told = untrained, SimpleNamespace(study=untrained, cluster=cluster)
    told.n_before = len(study.ledger())
    process = study.start("snakemake", "--profile", str(PROFILE))
    wait_until(lambda: len({e["slurm_job"] for e in study.ledger()[told.n_before :]}) > 1)
    kill(process, group=False)
    told.left = {job["id"]: job["state"] for job in cluster.queue()}
    told.again = study.run("snakemake", "--profile", str(PROFILE), check=False)
    told.recovered = study.run("palimpsest", "recover")
    return told


def test_starting_again_beside_orphans_is_refused_in_one_line(run):
    assert {"RUNNING", "PENDING"} <= set(run.left.values())
    assert run.again.returncode == 2
    (line,) = [line for line in run.again.stderr.splitlines() if line.startswith("error:")]
    assert line.endswith("run `palimpsest recover`")
    assert "Traceback" not in run.again.stderr


def test_the_study_is_completed_to_the_byte(run, smoke):
    assert run.study.contents("runs", "results/report") == smoke.contents("runs", "results/report")
    assert not run.study.missing()


def test_what_ran_was_waited_for_and_what_waited_was_cancelled(run):
    ended = {job["JobId"]: job["JobState"] for job in run.cluster.record()}
    wanted = {"RUNNING": "COMPLETED", "PENDING": "CANCELLED"}
    assert {job: ended[job] for job in run.left} == {
        job: wanted[state] for job, state in run.left.items()
    }
    assert "waiting for" in run.recovered.stderr


def test_no_artifact_was_computed_twice(run):
    names = Counter(entry["name"] for entry in run.study.ledger()[run.n_before :])
    assert set(names.values()) == {1}
    assert not overlaps(run.study, run.cluster)


def test_running_orphans_are_cancelled_if_asked(at_site, cluster):
    place = ("--partition=cpu", "--mem=100", "--output=/dev/null", "-D", str(at_site.folder))
    cluster.command("sbatch", *place, "--job-name=palimpsest_left", "--wrap=sleep 600")
    cluster.command("sbatch", *place, "--job-name=another", "--wrap=sleep 600")
    wait_until(lambda: [job["state"] for job in cluster.queue()] == ["RUNNING", "RUNNING"])
    at_site.run("palimpsest", "recover", "--cancel", "--", "-n")
    (left,) = cluster.queue()
    assert left["name"] == "another"
    cluster.command("scancel", left["id"])


def test_dvc_repro_submits_too(at_site, cluster, monkeypatch):
    n_before = len(at_site.ledger())
    at_site.set("fits.bootstrap", 150)
    monkeypatch.setenv("SNAKEMAKE_PROFILE", str(PROFILE))
    at_site.run("dvc", "repro")
    assert at_site.built_since(n_before) == Counter(fits=1, report=1)
    record = {job["JobId"]: job for job in cluster.record()}
    assert {record[e["slurm_job"]]["Partition"] for e in at_site.ledger()[n_before:]} == {"cpu"}
    assert at_site.run("dvc", "status", "--quiet", check=False).returncode == 0
