"""What `palimpsest run` and `use` do: call Snakemake, record in DVC, change the study."""

from __future__ import annotations

import difflib
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from palimpsest import params as P
from palimpsest import progress, slurm, store, watching
from palimpsest.again import build_again
from palimpsest.core.plug_ins import nearest
from palimpsest.faults import Fault
from palimpsest.fingerprint import digest
from palimpsest.plan import ACCEPTED, DVC_FILE, Artifact, Stages, check_stages
from palimpsest.schedule import Schedule, own, schedule

PARAMS, STUDIES = Path("params.yaml"), Path("studies")
DRY_RUN = {"-n", "--dry-run", "--dryrun"}
FLAGS = (*DRY_RUN, "-p", "--printshellcmds", "-k", "--keep-going")
KEPT = store.WORK / "params"  # edited parameter files that another study has replaced


def build_and_record(arguments: list[str], *, again: str | None = None) -> int:
    """Run Snakemake, then let DVC record every stage that is complete; return the exit code."""
    to_do = schedule(str(PARAMS), by="cores", cores=1)
    code = _build_again(to_do, again, arguments) if again else 0
    if code == 0 and (arguments or again or not to_do.all_stands()):
        code = _call("snakemake", *arguments, awaited=_awaited(to_do, arguments))
        to_do = schedule(str(PARAMS), by="cores", cores=1)
    return code or _record(to_do)


def targets(arguments: list[str]) -> list[str]:
    """Return arguments for Snakemake, stages among its targets by the names of their rules.

    Raises Fault for a target that is no stage, no rule and no file.
    """
    order, translated, n_values = Stages().order, [], 0.0
    for argument in arguments:
        if argument.startswith("-"):
            n_values = 0 if argument in FLAGS else _n_values(argument)
        elif n_values > 0:
            n_values -= 1
        else:
            argument = _target(argument, order)
        translated.append(argument)
    return translated


def _n_values(option: str) -> float:
    """Return how many of the arguments after an option of Snakemake's are its values, at most."""
    takes = _snakemake_takes()
    if option.startswith("--"):
        return 0 if "=" in option else takes.get(option, 1)
    for place, letter in enumerate(option[1:], start=2):
        if n_values := takes.get(f"-{letter}", 1):
            return n_values if place == len(option) else 0  # -j4
    return 0


@cache
def _snakemake_takes() -> dict[str, float]:
    """Return how many values each of Snakemake's options takes, at most."""
    from snakemake.cli import get_argument_parser

    counts: dict[Any, float] = {None: 1, "?": 1, "*": math.inf, "+": math.inf}
    return {
        option: counts.get(action.nargs, action.nargs)
        for action in get_argument_parser()._actions
        for option in action.option_strings
    }


def _target(argument: str, order: list[str]) -> str:
    """Return what Snakemake calls a target."""
    rules = ["all", "results", *(f"stage_{stage}" for stage in order)]
    if argument.startswith("-") or argument in rules or "/" in argument:
        return argument
    check_stages([argument], order)
    return f"stage_{argument}"


def snakemake_options(*, quiet: bool, verbose: bool) -> list[str]:
    """Return how much Snakemake is to print."""
    if quiet:
        return ["--quiet", "all"]
    return ["--quiet", "host", "--printshellcmds"] if verbose else []


def _awaited(to_do: Schedule, arguments: list[str]) -> set[Artifact]:
    """Return what Snakemake is to build; nothing in a dry run, or for targets that are files."""
    if any(_is_dry(one) or "/" in one for one in arguments):
        return set()
    rules = [f"stage_{stage}" for stage in to_do.order]
    return to_do.awaited([to_do.order[rules.index(one)] for one in arguments if one in rules])


def _is_dry(argument: str) -> bool:
    """Tell whether an argument asks for a dry run, alone or among short flags: -np."""
    return argument in DRY_RUN or re.fullmatch("-[a-zA-Z]*n[a-zA-Z]*", argument) is not None


def _build_again(to_do: Schedule, stage: str, arguments: list[str]) -> int:
    check_stages([stage], to_do.order)

    def build(target: str, artifacts: list[Artifact]) -> int:
        return _call("snakemake", target, *arguments, awaited=artifacts)

    return build_again(to_do, stage, build)


def _record(to_do: Schedule) -> int:
    """Record the complete stages in DVC, unless it has recorded just this; return the exit code."""
    complete = [stage for stage in to_do.order if _recordable(to_do, stage)]
    state = _state(to_do, complete)
    code = 0
    if complete and not (store.RECORDED.exists() and store.RECORDED.read_text("utf-8") == state):
        code = _call("dvc", "commit", "--force", "--quiet", *complete)
        if code == 0:
            store.write_text(store.RECORDED, _state(to_do, complete))
    if code == 0 and to_do.complete(to_do.order[-1]):
        print(f"report: {(store.RESULTS / 'report' / 'index.html').resolve()}")
    return code


def _state(to_do: Schedule, stages: list[str]) -> str:
    """Return a hash of all that dvc.lock is made of: if it is unchanged, so is the lock."""
    files = {PARAMS, DVC_FILE, ACCEPTED, Path("dvc.lock"), *to_do.plan.stages.files()}
    contents = {str(path): store.sha256(path) for path in files if path.is_file()}
    return digest([stages, [to_do.plan.index_key(stage) for stage in to_do.order], contents])


def recover(profile: Path, arguments: list[str], *, cancel: bool) -> int:
    """End what a killed controller left on the cluster, then go on; return the exit code.

    Raises Fault while a controller lives in this folder.
    """
    with own(wait=False):
        slurm.end_orphans(progress.say, cancel=cancel)
    return build_and_record(["--profile", str(profile), *arguments])


def _recordable(to_do: Schedule, stage: str) -> bool:
    """Return whether a stage and what it reads are here; after a partial pull some are not."""
    return all(to_do.complete(name) for name in (stage, *to_do.plan.stages.edges[stage]))


def study_file(study: str) -> Path:
    """Return the parameter file of a study, by name or path. Fault names the known ones."""
    for path in (STUDIES / f"{study}.yaml", Path(study)):
        if path.is_file():
            return path
    known = sorted(path.stem for path in STUDIES.glob("*.yaml"))
    raise Fault(f"{study}: neither a study nor a file{nearest(study, known)}")


def difference(source: Path) -> list[str]:
    """Check a parameter file and return how it differs from params.yaml, as a unified diff."""
    P.load(source)
    old = PARAMS.read_text("utf-8").splitlines() if PARAMS.exists() else []
    new = source.read_text("utf-8").splitlines()
    return list(
        difflib.unified_diff(old, new, fromfile="params.yaml", tofile=str(source), n=1, lineterm="")
    )


def replace_params(source: Path) -> Path | None:
    """Make a parameter file the params.yaml; Fault while jobs work in this folder.

    Returns the copy of a params.yaml that was edited, and that nothing else holds.
    """
    with own(wait=False):
        copy = _keep_edited()
        store.write_text(PARAMS, source.read_text("utf-8"))
    return copy


def _keep_edited() -> Path | None:
    """Copy a params.yaml that is neither a study, nor committed, nor copied already."""
    if not PARAMS.exists():
        return None
    content = PARAMS.read_bytes()
    same = [path for path in KEPT.glob("*.yaml") if path.read_bytes() == content]
    if same:
        return same[0]
    if content == _committed(PARAMS) or any(
        path.read_bytes() == content for path in STUDIES.glob("*.yaml")
    ):
        return None
    numbers = [int(path.stem) for path in KEPT.glob("*.yaml") if path.stem.isdigit()]
    copy = KEPT / f"{max(numbers, default=0) + 1}.yaml"
    store.write_text(copy, content.decode("utf-8"))
    return copy


def _committed(file: Path) -> bytes | None:
    """Return a file's content in git's last commit; None without git, or where it is not in it."""
    command = ["git", "show", f"HEAD:./{file.as_posix()}"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def _call(program: str, *arguments: str, awaited: Iterable[Artifact] = ()) -> int:
    """Run a program of this environment, found beside the interpreter even if not activated.

    A bar shows how much stands of what is `awaited`.
    """
    beside = str(Path(sys.executable).parent)
    path = os.pathsep.join([beside, os.environ.get("PATH", "")])
    try:
        return watching.call([program, *arguments], os.environ | {"PATH": path}, awaited)
    except FileNotFoundError:
        raise Fault(f"{program}: not installed; run `make setup`") from None
