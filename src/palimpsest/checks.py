"""What this machine offers to a study, one finding a line: what was looked at, and what to do."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from palimpsest.faults import Fault
from palimpsest.site import ERROR, OK, WARNING, Check

LOCKED = Path("requirements.lock")
PROGRAMS = {"git": "apt-get install git", "snakemake": "make setup", "dvc": "make setup"}
HUB, SECONDS_TO_ANSWER = ("huggingface.co", 443), 3.0
SPARE_BYTES = 1e9  # beside what the study itself writes


def machine() -> Iterator[Check]:
    """Look at everything that a study on one machine needs."""
    yield from (_python(), _versions(), *_programs(), _processor(), _gpu(), _slurm())
    yield from (_git(), _remote(), _links(), _disk(), _hub())


def _python() -> Check:
    return Check("python", OK, f"{platform.python_version()} at {sys.executable}")


def _versions() -> Check:
    """Compare what is installed with the lock file."""
    if not LOCKED.exists():
        return Check("packages", ERROR, f"no {LOCKED} here", "run this in the project's root")
    lines = (line.split("#")[0].strip() for line in LOCKED.read_text("utf-8").splitlines())
    asked = dict(line.split("==", 1) for line in lines if "==" in line)
    other = {name: got for name, want in asked.items() if (got := _installed(name)) != want}
    shown = ", ".join(f"{name} {_installed(name)}" for name in ("torch", "snakemake", "dvc"))
    if not other:
        return Check("packages", OK, f"as {LOCKED} asks: {shown}")
    differing = (f"{name} {got or 'missing'}, not {asked[name]}" for name, got in other.items())
    state = ERROR if None in other.values() else WARNING
    return Check(
        "packages", state, "; ".join(differing), f"make setup installs what {LOCKED} names"
    )


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name.split("[")[0]).split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def _programs() -> Iterator[Check]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    for name, advice in PROGRAMS.items():
        place = shutil.which(name, path=path)
        yield Check(name, OK, place) if place else Check(name, ERROR, "not found", advice)


def _processor() -> Check:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    n_cores, gibibytes = len(os.sched_getaffinity(0)), pages / 2**30
    found = f"{n_cores} cores, {gibibytes:.1f} GiB of memory, {platform.machine()}"
    if gibibytes < 3.5:
        return Check("processor", WARNING, found, "the default study needs 4 GiB; try `use smoke`")
    return Check("processor", OK, found)


def _gpu() -> Check:
    """Ask the driver, then torch: a driver without a matching torch trains on the CPU unnoticed."""
    names = _said("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    if not names:
        return Check("gpu", OK, "none; everything runs on the CPU")
    import torch

    found = "; ".join(names.splitlines())
    if torch.cuda.is_available():
        return Check("gpu", OK, f"{found}; torch {torch.__version__} uses it")
    advice = "install a CUDA build of torch into .venv"
    return Check("gpu", ERROR, f"{found}, but torch {torch.__version__} cannot use it", advice)


def _slurm() -> Check:
    version = _said("sbatch", "--version")
    if not version:
        return Check("slurm", OK, "none; jobs run on this machine")
    advice = "`snakemake --profile workflow/profiles/slurm` submits to it"
    return Check("slurm", OK, version, advice)


def _git() -> Check:
    head = _said("git", "rev-parse", "--short", "HEAD")
    if not head:
        return Check("repository", ERROR, "no git commit here", "clone the project; DVC needs git")
    dirty = bool(_said("git", "status", "--porcelain", "--untracked-files=no"))
    return Check("repository", OK, f"at {head}{', with changes not committed' if dirty else ''}")


def _remote() -> Check:
    """Try the default DVC remote, if the project has one."""
    from palimpsest.vault import Vault

    try:
        remote = Vault().remote()
        if remote is None:
            advice = "results lie on this disk alone; `dvc remote add -d NAME URL` keeps a copy"
            return Check("dvc remote", WARNING, "none", advice)
        place = remote.fs.unstrip_protocol(remote.path)
        if not remote.fs.exists(remote.path):
            return Check("dvc remote", WARNING, f"{place} is empty", "`dvc push` fills it")
    except Fault as fault:
        return Check("dvc remote", ERROR, str(fault))
    except Exception as error:  # a cloud's client may raise anything
        line = " ".join(str(error).split())[:200] or type(error).__name__
        return Check("dvc remote", ERROR, line, "`dvc remote list`; `dvc remote modify` mends it")
    return Check("dvc remote", OK, place)


def _links() -> Check:
    """Say whether DVC's cache shares blocks with the workspace; a trial copy decides."""
    from dvc_objects.fs.generic import test_links
    from dvc_objects.fs.local import localfs

    here = str(Path().resolve())
    if "reflink" in test_links(["reflink"], localfs, here, localfs, here):
        return Check("file system", OK, "shares blocks: DVC's cache takes no space of its own")
    return Check("file system", OK, "copies: DVC's cache takes as much again as runs/")


def _disk() -> Check:
    """Compare the free space with what the study still writes, workspace and cache."""
    from palimpsest.overview import estimate

    free = shutil.disk_usage(".").free
    found = f"{free / 1e9:.1f} GB free"
    try:
        totals = estimate(Path("params.yaml"))
    except Fault as fault:
        return Check("disk", WARNING, f"{found}; params.yaml cannot be planned: {fault}")
    needed = 2 * totals["missing_bytes"] + SPARE_BYTES
    found += f"; the study still writes {totals['missing_bytes'] / 1e9:.2f} GB, its cache as much"
    if free < needed:
        return Check("disk", ERROR, found, "free some: `palimpsest prune --dry-run`, `dvc gc`")
    return Check("disk", OK, found)


def _hub() -> Check:
    """Knock at the Hugging Face hub; studies on embedded models never need it."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return Check("hub", OK, "HF_HUB_OFFLINE is set: only what its cache holds is used")
    try:
        socket.create_connection(HUB, timeout=SECONDS_TO_ANSWER).close()
    except OSError as error:
        advice = "needed only for published models; without it, set HF_HUB_OFFLINE=1"
        return Check("hub", WARNING, f"{HUB[0]} does not answer ({error})", advice)
    return Check("hub", OK, f"{HUB[0]} answers")


def _said(*command: str) -> str:
    """Return what a program prints; nothing if it is absent or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
