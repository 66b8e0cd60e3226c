"""SLURM's queue as a study sees it: which jobs work in this folder, whoever submitted them."""

from __future__ import annotations

import getpass
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from palimpsest.faults import Fault

PREFIX = "palimpsest"  # of every job's name; the profile's slurm-jobname-prefix
SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_FOR_AN_ANSWER = 60.0


@dataclass(frozen=True)
class Job:
    """A job that waits or runs."""

    number: str
    state: str


def jobs_here() -> list[Job]:
    """Return this person's jobs that wait or run in this folder, by number."""
    said = call("squeue", "--noheader", "--user", getpass.getuser(), "--format", "%i|%T|%j|%Z")
    here = Path.cwd().resolve()
    jobs = []
    for line in said.splitlines():
        number, state, name, folder = line.strip().split("|", 3)
        if name.startswith(f"{PREFIX}_") and Path(folder).resolve() == here:
            jobs.append(Job(number, state))
    return jobs


def refuse_orphans() -> None:
    """Raise Fault if jobs of a controller that is gone still wait or run here."""
    if jobs := jobs_here():
        raise Fault(
            f"SLURM: {_count(jobs)} of an earlier controller would be submitted a second time "
            f"({_numbers(jobs)}); run `palimpsest recover`"
        )


def end_orphans(say: Callable[[str], None], *, cancel: bool) -> None:
    """Cancel what waits (with `cancel` also what runs) and wait until nothing is left here."""
    jobs = jobs_here()
    doomed = [job for job in jobs if cancel or job.state == "PENDING"]
    if doomed:
        say(f"cancelling {_count(doomed)} of the killed controller: {_numbers(doomed)}")
        call("scancel", *(job.number for job in doomed))
    told: list[Job] = []
    while jobs := jobs_here():
        if jobs != told:
            say(f"waiting for {_count(jobs)} of the killed controller: {_numbers(jobs)}")
            told = jobs
        time.sleep(SECONDS_BETWEEN_LOOKS)


def call(program: str, *arguments: str) -> str:
    """Run a program of SLURM and return what it printed. Fault says what it complained about."""
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=SECONDS_FOR_AN_ANSWER
        )
    except FileNotFoundError:
        raise Fault(f"{program}: not found; run this where SLURM's programs are") from None
    except subprocess.TimeoutExpired:
        raise Fault(f"{program}: no answer in {SECONDS_FOR_AN_ANSWER:.0f} s; try later") from None
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise Fault(f"{program}: {said}")
    return done.stdout


def _count(jobs: list[Job]) -> str:
    return "1 job" if len(jobs) == 1 else f"{len(jobs)} jobs"


def _numbers(jobs: list[Job]) -> str:
    shown = ", ".join(f"{job.number} {job.state.lower()}" for job in jobs[:8])
    return shown + (", …" if len(jobs) > 8 else "")
