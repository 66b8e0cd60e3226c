"""A SLURM site and the profile → what fits, what does not, and what to do about it."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Group
from rich.table import Table
from rich.text import Text

from palimpsest import needs, slurm, store, trial
from palimpsest.faults import Fault

PROFILE = Path("workflow/profiles/slurm")
PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo", "srun")
MAIN_FILE = "config.yaml"
STATUS_CHECKS_PER_JOB_AGE = 3  # the plugin forgets to see an end if a job is gone sooner
SECONDS_TO_WAIT_FOR_JOBS = 300.0
OK, WARNING, ERROR = "ok", "warning", "error"


@dataclass(frozen=True)
class Check:
    """What was looked at, how it stands, what was found, what to do."""

    name: str
    state: str
    found: str
    advice: str = ""


def check_site(profile: Path) -> list[Check]:
    """Look at the programs, the profile and the cluster; try the shared folder with two jobs."""
    settings = read_profile(profile)
    lacking = [name for name in PROGRAMS if not shutil.which(name)]
    programs = Check("programs", OK, ", ".join(PROGRAMS))
    if lacking:
        advice = "run this where jobs are submitted from, usually a login node"
        return [Check("programs", ERROR, f"not found: {', '.join(lacking)}", advice)]
    return [programs, *_checks(settings)]


def _checks(settings: dict[str, Any]) -> Iterator[Check]:
    try:
        config = _configuration()
    except Fault as fault:
        yield Check("controller", ERROR, str(fault), "ask the site whether SLURM is up")
        return
    yield Check("controller", OK, f"{config['SLURM_VERSION']}, cluster {config['ClusterName']}")
    yield check_names(settings)
    yield check_status_command(settings, config)
    yield check_requeue(settings, config)
    places = [job_place(settings), *node_places(settings)]
    yield from (try_place(place) for place in places)
    yield from try_folder([place.partition for place in places])


# The profile


def read_profile(folder: Path) -> dict[str, Any]:
    """Read a profile. Raises Fault if there is none."""
    try:
        content: dict[str, Any] = yaml.safe_load((folder / MAIN_FILE).read_text("utf-8"))
    except FileNotFoundError:
        raise Fault(f"{folder / MAIN_FILE}: no such profile; the program's is {PROFILE}") from None
    return content


@dataclass(frozen=True)
class Place:
    """A kind of job that the profile sends somewhere, in the words of sbatch."""

    name: str
    partition: str
    options: tuple[str, ...]


def job_place(settings: dict[str, Any]) -> Place:
    """Return where jobs without a model go."""
    default = settings.get("default-resources", {})
    partition = str(default.get("slurm_partition", ""))
    options = [f"--mem={default.get('mem_mb', needs.LIGHT_MB)}", *_account(settings)]
    return Place("jobs without a model", partition, (*options, "--ntasks=1", "--cpus-per-task=1"))


def node_places(settings: dict[str, Any]) -> list[Place]:
    """Return where jobs with a model go, one place per line of `nodes`."""
    return [_node_place(node, settings) for node in _nodes(settings)]


def _nodes(settings: dict[str, Any]) -> list[needs.Node]:
    return needs.read_nodes(settings.get("config", {}).get("nodes", []))


def _node_place(node: needs.Node, settings: dict[str, Any]) -> Place:
    options = [f"--mem={max(node.mem_mb, needs.TORCH_MB)}", *_account(settings)]
    if node.gpu:
        model = f"{node.gpu_model}:" if node.gpu_model else ""
        options += [f"--gpus={model}{node.gpu}", f"--cpus-per-gpu={node.cpus}"]
    else:
        options += ["--ntasks=1", f"--cpus-per-task={node.cpus}"]
    return Place(f"models up to {node.up_to:.3g} parameters", node.partition, tuple(options))


def _account(settings: dict[str, Any]) -> list[str]:
    account = settings.get("default-resources", {}).get("slurm_account")
    return [f"--account={account}"] if account else []


# The cluster's settings


def _configuration() -> dict[str, str]:
    pairs = (line.partition("=") for line in slurm.call("scontrol", "show", "config").splitlines())
    return {name.strip(): value.strip() for name, sign, value in pairs if sign}


def check_names(settings: dict[str, Any]) -> Check:
    """`palimpsest recover` finds orphans by the prefix of their names."""
    prefix = settings.get("slurm-jobname-prefix")
    if prefix == slurm.PREFIX:
        return Check("job names", OK, f"{prefix}_…")
    advice = f"set slurm-jobname-prefix: {slurm.PREFIX}"
    return Check("job names", ERROR, f"slurm-jobname-prefix is {prefix}", advice)


def check_status_command(settings: dict[str, Any], config: dict[str, str]) -> Check:
    """Without accounting sacct never tells that a job ended; squeue tells for MinJobAge."""
    if settings.get("slurm-status-command", "sacct") != "squeue":
        return _check_sacct(config)
    age = int(config.get("MinJobAge", "0").split()[0])
    least = STATUS_CHECKS_PER_JOB_AGE * settings.get("slurm-init-seconds-before-status-checks", 40)
    found = f"squeue; MinJobAge is {age} s, {least} s are needed"
    if age >= least:
        return Check("status of jobs", OK, found)
    advice = f"set slurm-init-seconds-before-status-checks to at most {max(age // 3, 1)}"
    return Check("status of jobs", ERROR, found, advice)


def _check_sacct(config: dict[str, str]) -> Check:
    store_of_jobs = config.get("AccountingStorageType", "")
    if store_of_jobs.endswith("/none") or not shutil.which("sacct"):
        found = f"sacct, but there is no accounting ({store_of_jobs}): a run would wait for ever"
        return Check("status of jobs", ERROR, found, "set slurm-status-command: squeue")
    return Check("status of jobs", OK, f"sacct; {store_of_jobs}")


def check_requeue(settings: dict[str, Any], config: dict[str, str]) -> Check:
    """A preempted job that is not requeued is waited for in vain."""
    if settings.get("slurm-requeue") or config.get("JobRequeue") == "1":
        return Check("requeue", OK, "preempted jobs come back")
    found = "preempted jobs do not come back, and a run would wait for them for ever"
    return Check("requeue", ERROR, found, "set slurm-requeue: true")


def try_place(place: Place) -> Check:
    """Ask SLURM itself whether such a job could ever run."""
    partition = [f"--partition={place.partition}"] if place.partition else []
    options = [*partition, *place.options]
    try:
        slurm.call("sbatch", "--test-only", *options, "--time=15", "--wrap=true")
    except Fault as fault:
        advice = f"change it in the profile; it asks for {' '.join(options)}"
        return Check(place.name, ERROR, str(fault), advice)
    return Check(place.name, OK, " ".join(options))


# The shared folder


def try_folder(partitions: list[str]) -> Iterator[Check]:
    """Let two jobs on two nodes rename to the same place and take the same lock, here."""
    nodes = _two_nodes(partitions)
    if len(nodes) < len(trial.ROLES):
        found = f"{len(nodes)} node answers; two are needed to try it"
        yield Check("shared folder", WARNING, found, "run this again when more nodes are up")
        return
    folder = store.WORK / "doctor" / uuid.uuid4().hex[:12]
    folder.mkdir(parents=True)
    jobs = [_start(folder, role, *node) for role, node in zip(trial.ROLES, nodes, strict=True)]
    try:
        saw = _wait_for_both(folder, jobs)
    except Fault as fault:
        yield Check("shared folder", ERROR, str(fault), f"read the logs in {folder}")
        return
    finally:
        with contextlib.suppress(Fault):
            slurm.call("scancel", *jobs)
    shutil.rmtree(folder, ignore_errors=True)
    yield from judge_folder(trial.judge(*saw), " and ".join(name for name, _ in nodes))


def _two_nodes(partitions: list[str]) -> list[tuple[str, str]]:
    """Return up to two nodes that take jobs, idle ones first, and a partition of each."""
    asked = [f"--partition={','.join(sorted(set(filter(None, partitions))))}"]
    said = slurm.call("sinfo", "--noheader", "-N", "--responding", *asked, "--format=%N %R %t")
    rows = [line.split() for line in said.splitlines()]
    usable = [row for row in rows if row[2] in ("idle", "mix", "alloc")]
    nodes = {name: part for name, part, _ in sorted(usable, key=lambda row: row[2] == "idle")}
    return list(reversed(nodes.items()))[: len(trial.ROLES)]


def _start(folder: Path, role: str, node: str, partition: str) -> str:
    """Submit one part of the trial; return the job's number."""
    place = [f"--partition={partition}", f"--nodelist={node}", "--time=10", "--mem=200"]
    names = ["--job-name=doctor", f"--output={folder}/{role}.log", "--export=ALL"]
    work = f"{sys.executable} -m palimpsest.trial {folder} {role}"
    said = slurm.call("sbatch", "--parsable", *place, *names, f"--wrap={work}")
    return said.strip().partition(";")[0]


def _wait_for_both(folder: Path, jobs: list[str]) -> list[dict[str, Any]]:
    files = [folder / f"{role}.json" for role in trial.ROLES]
    end = time.monotonic() + SECONDS_TO_WAIT_FOR_JOBS
    while time.monotonic() < end:
        there = set(folder.iterdir())  # network file systems look again
        if there.issuperset(files):
            return [json.loads(file.read_text("utf-8")) for file in files]
        time.sleep(0.5)
    said = slurm.call("squeue", "--noheader", f"--jobs={','.join(jobs)}", "--format=%N %T %r")
    states = "; ".join(said.splitlines()) or "both ended"
    raise Fault(f"no result of two jobs in {SECONDS_TO_WAIT_FOR_JOBS:.0f} s: {states}")


def judge_folder(seen: dict[str, Any], where: str) -> Iterator[Check]:
    """Say what the trial means: a rename must succeed once; locks only save work."""
    renames = f"{seen['n_renamed_once']} of {seen['n_renames']} renames succeeded once, {where}"
    if seen["n_renamed_once"] == seen["n_renames"]:
        yield Check("shared folder: rename", OK, renames)
    else:
        advice = "put the project on another file system: artifacts may be damaged on this one"
        yield Check("shared folder: rename", ERROR, renames, advice)
    yield _judge_locks(seen, where)


def _judge_locks(seen: dict[str, Any], where: str) -> Check:
    name, locks = "shared folder: locks", f"{seen['n_locked_once']} of {seen['n_locks']} locks"
    advice = "two jobs may build the same artifact; one is kept, so only work is lost"
    if seen["lock_error"]:
        return Check(name, WARNING, f"there are none: {seen['lock_error']}", advice)
    if seen["skew_seconds"] > trial.MOST_SKEW_SECONDS:
        found = f"not decided: the clocks differ by {seen['skew_seconds']:.1f} s, {where}"
        return Check(name, WARNING, found, "ask the site to set the nodes' clocks")
    if seen["n_locked_once"] < seen["n_locks"]:
        return Check(name, WARNING, f"{locks} held between nodes, {where}", advice)
    return Check(name, OK, f"{locks} held between nodes, {where}")


def table(checks: list[dict[str, str]]) -> Group:
    """Draw what `check_site` found."""
    drawn = Table(box=None, pad_edge=False)
    for column in ("", "check", "found"):
        drawn.add_column(column)
    colours = {OK: "green", WARNING: "yellow", ERROR: "red"}
    for check in checks:
        state = Text(check["state"], style=colours[check["state"]])
        drawn.add_row(state, Text(check["name"]), Text(check["found"]))
    advice = [Text(f"{c['name']}: {c['advice']}") for c in checks if c["state"] != OK]
    return Group(drawn, *advice)
