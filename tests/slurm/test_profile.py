"""The smoke study by `snakemake --profile workflow/profiles/slurm`, with everything going wrong.

While training jobs run, one is preempted; while it waits, params.yaml is edited; another is
cancelled. When both have ended well, and others run and wait, the controlling process is killed;
`palimpsest recover` goes on.
"""

import time
from collections import Counter, defaultdict
from subprocess import Popen
from types import SimpleNamespace

import pytest
from attempts import attempts, overlaps
from cluster import Cluster
from project import Project, kill, wait_until

from palimpsest.schedule import TORCH_STAGES
from palimpsest.site import PROFILE

pytestmark = pytest.mark.slurm

BUSY = ("--parsable", "--partition=gpu", "--gpus=1", "--mem=100", "--job-name=busy")
N_ENDED = 2  # trainings ended from outside; one may go between its rename and its ledger line
PUSH = ("--partition=preempt", "--nodelist=n2", "--gpus=2", "--mem=100", "--job-name=push")


def jobs(cluster: Cluster, state: str, *rules: str) -> list[str]:
    """Return the numbers of the jobs of some rules in a state."""
    named = tuple(f"rule_{rule}_" for rule in rules)
    return [
        job["id"]
        for job in cluster.queue()
        if job["state"] == state and job["comment"].startswith(named)
    ]


def state(cluster: Cluster, job: str) -> str:
    """Return the state of a job in the queue; nothing if it has left it."""
    return next((one["state"] for one in cluster.queue() if one["id"] == job), "")


def begun(study: Project, job: str, *, since: float = 0.0) -> list[dict]:
    """Return the attempts that a job has begun since a time."""
    own = (attempt for attempt in attempts(study) if attempt["slurm_job"] == job)
    return [attempt for attempt in own if attempt["started"] > since]


def built(study: Project) -> set[str]:
    """Return the names of the artifacts that were built so far."""
    return {entry["name"] for entry in study.ledger()}


def saved(study: Project, job: str) -> bool:
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
    told.preempted = preempt_a_training(study, cluster)
    told.waited = jobs(cluster, "PENDING", "train")
    told.n_begun = len(begun(study, told.preempted))
    study.set("phase.stream.n_new_tokens", 5120)
    told.cancelled = running_training(study, cluster, but={told.preempted}, since=time.time())
    told.details = cluster.command("scontrol", "show", "job", "--details", told.cancelled)
    cluster.command("scancel", told.cancelled)
    told.lost = {attempt["name"] for attempt in begun(study, told.cancelled)}
    wait_until(lambda: told.lost <= built(study), seconds=300)
    wait_until(lambda: not state(cluster, told.preempted), seconds=300)
    told.built = built(study)
    told.left = kill_while_jobs_run_and_wait(process, cluster)
    (study.folder / "params.yaml").write_text(asked)
    told.again = study.run("snakemake", "--profile", str(PROFILE), check=False)
    told.recovered = study.run("palimpsest", "recover")
    return told


def kill_while_jobs_run_and_wait(process: Popen, cluster: Cluster) -> dict[str, str]:
    """Kill the controller; return which of its jobs are left, and their states.

    A GPU that somebody else holds lets jobs wait.
    """
    elsewhere = cluster.command("sbatch", *BUSY, "--output=/dev/null", "--wrap=sleep 600")
    rules = ("train", "recall", "evals")
    wait_until(
        lambda: jobs(cluster, "RUNNING", *rules) and jobs(cluster, "PENDING", *rules), seconds=300
    )
    kill(process, group=False)
    left = {job["id"]: job["state"] for job in cluster.queue()}
    cluster.command("scancel", elsewhere.strip())
    del left[elsewhere.strip()]
    return left


def preempt_a_training(study: Project, cluster: Cluster) -> str:
    """Push training jobs out until one that had saved a state waits again; return its number."""
    ended: set[str] = set()
    while True:
        job = running_training(study, cluster, but=ended)
        wait_until(lambda job=job: saved(study, job) or state(cluster, job) != "RUNNING")
        cluster.command("sbatch", *PUSH, "--output=/dev/null", "--wrap=sleep 1")
        wait_until(lambda job=job: state(cluster, job) not in ("RUNNING", "COMPLETING"))
        if state(cluster, job) == "PENDING":
            return job
        ended.add(job)  # by itself, before it was pushed out


def running_training(study: Project, cluster: Cluster, *, but: set[str], since: float = 0.0) -> str:
    """Wait for a training job that has begun an artifact since a time; return its number."""

    def there() -> list[str]:
        running = jobs(cluster, "RUNNING", "train")
        return [job for job in running if job not in but and begun(study, job, since=since)]

    found: list[str] = []
    wait_until(lambda: found.extend(there()) or found, seconds=300)
    return found[0]


def states(run, job: str) -> list[str]:
    return [entry["JobState"] for entry in run.cluster.record() if entry["JobId"] == job]


# The end


def test_the_results_are_those_of_the_local_run_to_the_byte(run, smoke):
    assert run.study.contents("runs", "results/report") == smoke.contents("runs", "results/report")
    assert not run.study.missing()


def test_every_artifact_was_built_by_a_job_in_the_queues_record(run, smoke):
    record = {job["JobId"]: job for job in run.cluster.record()}
    unnoted = smoke.built_since(0) - run.study.built_since(0)
    assert set(unnoted) <= {"train"} and unnoted.total() <= N_ENDED  # killed before its line
    assert run.study.built_since(0) <= smoke.built_since(0)
    for entry in run.study.ledger():
        job = record[entry["slurm_job"]]
        assert job["Partition"] == ("gpu" if entry["stage"] in TORCH_STAGES else "cpu"), entry
        assert job["JobState"] == ("CANCELLED" if job["JobId"] == run.cancelled else "COMPLETED")
        assert job["WorkDir"] == str(run.study.folder)


def test_all_jobs_bear_one_name(run):
    here = [job for job in run.cluster.record() if job["WorkDir"] == str(run.study.folder)]
    names = {job["Name"] for job in here}
    assert len(names) == 2, "one of the killed controller, one of the recovery"
    assert all(name.startswith("palimpsest_") for name in names)


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


# While it ran


def test_a_cancelled_job_is_finished_in_the_same_run(run):
    assert states(run, run.cancelled)[-1] == "CANCELLED"
    assert run.lost
    assert run.lost <= run.built, "before the controller was killed"
    by = {e["name"]: e["slurm_job"] for e in run.study.ledger() if e["name"] in run.lost}
    assert any(job != run.cancelled for job in by.values())


def test_a_preempted_job_comes_back_and_ends_in_the_same_run(run):
    assert "PREEMPTED" in states(run, run.preempted)
    assert states(run, run.preempted)[-1] == "COMPLETED"
    assert len(begun(run.study, run.preempted)) > run.n_begun
    assert run.preempted not in run.left


def test_jobs_that_wait_do_not_notice_an_edit_of_the_params(run, smoke):
    """The results are compared elsewhere; here, that jobs did wait when the edit was made."""
    assert run.waited
    assert built(run.study) <= built(smoke)
    assert len(built(smoke) - built(run.study)) <= N_ENDED


def test_each_job_leaves_a_log_also_of_attempts_that_were_lost(run):
    logs = run.study.folder / ".work" / "logs"
    for entry in run.study.ledger():
        said = "".join(file.read_text() for file in (logs / entry["stage"]).glob("*.log"))
        label = entry["name"].rpartition("-")[0]
        assert f": {label} stands" in said, entry["name"]


# After the controller was killed


def test_starting_again_beside_orphans_is_refused_in_one_line(run):
    assert {"RUNNING", "PENDING"} <= set(run.left.values())
    assert run.again.returncode == 2
    (line,) = [line for line in run.again.stderr.splitlines() if line.startswith("error:")]
    assert line.endswith("run `palimpsest recover`")
    assert "Traceback" not in run.again.stderr


def test_what_ran_was_waited_for_and_what_waited_was_cancelled(run):
    """A job that waited at the kill may have begun by the time of the recovery."""
    ended = {job["JobId"]: job["JobState"] for job in run.cluster.record()}
    running = {job for job, state in run.left.items() if state == "RUNNING"}
    waiting = {ended[job] for job in run.left.keys() - running}
    assert {ended[job] for job in running} == {"COMPLETED"}
    assert waiting <= {"CANCELLED", "COMPLETED"}
    assert "CANCELLED" not in waiting or "cancelling" in run.recovered.stderr


def test_no_artifact_was_computed_twice(run):
    names = Counter(entry["name"] for entry in run.study.ledger())
    assert set(names.values()) == {1}
    assert not overlaps(run.study, run.cluster)
