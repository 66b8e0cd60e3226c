"""The smoke study by `snakemake --profile workflow/profiles/slurm`, with everything going wrong.

While training jobs run and wait, params.yaml is edited, one job is cancelled and one is preempted.
"""

from collections import Counter, defaultdict
from types import SimpleNamespace

import pytest
from attempts import attempts, overlaps
from project import wait_until

from palimpsest.schedule import TORCH_STAGES
from palimpsest.site import PROFILE

pytestmark = pytest.mark.slurm

PUSH = ("--partition=preempt", "--nodelist=n2", "--gpus=2", "--mem=100", "--job-name=push")


def jobs(cluster, rule: str, state: str) -> list[str]:
    """Return the numbers of the jobs of a rule in a state."""
    return [
        job["id"]
        for job in cluster.queue()
        if job["state"] == state and job["comment"].startswith(f"rule_{rule}_")
    ]


def begun(study, job: str) -> list[dict]:
    """Return the attempts that a job has begun."""
    return [attempt for attempt in attempts(study) if attempt["slurm_job"] == job]


def saved(study, job: str) -> bool:
    """Return whether an attempt of this job has saved a state to resume from."""
    scratch = study.folder / ".work" / "scratch"
    places = (scratch / a["stage"] / a["name"] / a["attempt"] for a in begun(study, job))
    return any((place / "resume.pt").exists() for place in places)


@pytest.fixture(scope="module")
def run(unbuilt, cluster) -> SimpleNamespace:
    """Build the study; say what was done to it on the way."""
    study, told = unbuilt, SimpleNamespace(study=unbuilt, cluster=cluster)
    asked = (study.folder / "params.yaml").read_text()
    process = study.start("snakemake", "--profile", str(PROFILE))
    wait_until(lambda: jobs(cluster, "train", "PENDING"), seconds=300)
    wait_until(lambda: any(begun(study, job) for job in jobs(cluster, "train", "RUNNING")))
    told.waited = jobs(cluster, "train", "PENDING")
    study.set("phase.stream.n_new_tokens", 5120)
    told.cancelled = next(job for job in jobs(cluster, "train", "RUNNING") if begun(study, job))
    told.details = cluster.command("scontrol", "show", "job", "--details", told.cancelled)
    cluster.command("scancel", told.cancelled)

    def others() -> list[str]:
        running = jobs(cluster, "train", "RUNNING")
        return [job for job in running if job != told.cancelled and saved(study, job)]

    wait_until(others)
    (told.preempted, *_) = others()
    told.n_begun = len(begun(study, told.preempted))
    cluster.command("sbatch", *PUSH, "--output=/dev/null", "--wrap=sleep 2")
    code = process.wait()
    assert code == 0, study.log()
    (study.folder / "params.yaml").write_text(asked)
    return told


def states(run, job: str) -> list[str]:
    return [entry["JobState"] for entry in run.cluster.record() if entry["JobId"] == job]


def test_the_results_are_those_of_the_local_run_to_the_byte(run, smoke):
    assert run.study.contents("runs", "results/report") == smoke.contents("runs", "results/report")
    assert not run.study.missing()


def test_every_artifact_was_built_by_a_job_in_the_queues_record(run, smoke):
    record = {job["JobId"]: job for job in run.cluster.record()}
    built = run.study.ledger()
    assert Counter(entry["stage"] for entry in built) == smoke.built_since(0)
    for entry in built:
        job = record[entry["slurm_job"]]
        assert job["Partition"] == ("gpu" if entry["stage"] in TORCH_STAGES else "cpu"), entry
        assert job["JobState"] == "COMPLETED"
        assert job["WorkDir"] == str(run.study.folder)


def test_all_jobs_bear_one_name(run):
    here = [job for job in run.cluster.record() if job["WorkDir"] == str(run.study.folder)]
    (name,) = {job["Name"] for job in here if job["Name"] != "push"}
    assert name.startswith("palimpsest_")


def test_training_holds_a_gpu_of_the_node_that_has_them(run):
    assert "GRES=gpu:h100:1" in run.details
    assert "Partition=gpu" in run.details


def test_small_jobs_that_follow_each_other_are_one_job(run):
    of = defaultdict(set)
    for entry in run.study.ledger():
        of[entry["stage"]].add(entry["slurm_job"])
    assert of["corpora"] == of["tokens"]
    assert of["tables"] == of["fits"] == of["report"]
    assert len(of["train"]) > len(of["bases"]) > 1


def test_a_cancelled_job_is_finished_in_the_same_run(run):
    assert states(run, run.cancelled) == ["CANCELLED"]
    lost = {attempt["name"] for attempt in begun(run.study, run.cancelled)}
    by = {e["name"]: e["slurm_job"] for e in run.study.ledger() if e["name"] in lost}
    assert set(by) == lost
    assert any(job != run.cancelled for job in by.values())


def test_a_preempted_job_comes_back_and_ends_in_the_same_run(run):
    assert states(run, run.preempted)[-1] == "COMPLETED"
    assert "PREEMPTED" in states(run, run.preempted)
    assert len(begun(run.study, run.preempted)) > run.n_begun


def test_jobs_that_wait_do_not_notice_an_edit_of_the_params(run, smoke):
    """The results are compared elsewhere; here, that the jobs did wait when the edit was made."""
    assert run.waited
    built = {entry["name"] for entry in run.study.ledger()}
    assert built == {entry["name"] for entry in smoke.ledger()}


def test_no_artifact_was_computed_twice_at_the_same_time(run):
    names = Counter(entry["name"] for entry in run.study.ledger())
    assert set(names.values()) == {1}
    assert not overlaps(run.study, run.cluster)


def test_each_job_leaves_a_log_also_of_attempts_that_were_lost(run):
    logs = run.study.folder / ".work" / "logs"
    for entry in run.study.ledger():
        said = "".join(file.read_text() for file in (logs / entry["stage"]).glob("*.log"))
        label = entry["name"].rpartition("-")[0]
        assert f"{entry['stage']}: {label} built in" in said, entry["name"]
