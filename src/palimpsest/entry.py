"""What `palimpsest run` and `use` do: call Snakemake, record in DVC, change the study."""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
from pathlib import Path

from palimpsest import params as P
from palimpsest import progress, slurm, store
from palimpsest.faults import Fault
from palimpsest.schedule import Schedule, own, schedule

PARAMS, STUDIES = Path("params.yaml"), Path("studies")


def build_and_record(arguments: list[str]) -> int:
    """Run Snakemake, then let DVC record every stage that is complete; return the exit code."""
    code = _call("snakemake", *arguments)
    if code:
        return code
    to_do = schedule(str(PARAMS), by="cores", cores=1)
    complete = [stage for stage in to_do.order if _recordable(to_do, stage)]
    code = _call("dvc", "commit", "--force", "--quiet", *complete) if complete else 0
    if code == 0 and to_do.complete(to_do.order[-1]):
        print(f"report: {(store.RESULTS / 'report' / 'index.html').resolve()}")
    return code


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
    known = ", ".join(sorted(path.stem for path in STUDIES.glob("*.yaml")))
    raise Fault(f"{study}: neither a study nor a file; known studies: {known}")


def difference(source: Path) -> list[str]:
    """Check a parameter file and return how it differs from params.yaml, as a unified diff."""
    P.load(source)
    old = PARAMS.read_text("utf-8").splitlines() if PARAMS.exists() else []
    new = source.read_text("utf-8").splitlines()
    return list(
        difflib.unified_diff(old, new, fromfile="params.yaml", tofile=str(source), n=1, lineterm="")
    )


def replace_params(source: Path) -> None:
    """Make a parameter file the params.yaml; Fault while jobs work in this folder."""
    with own(wait=False):
        store.write_text(PARAMS, source.read_text("utf-8"))


def _call(program: str, *arguments: str) -> int:
    """Run a program of this environment, found beside the interpreter even if not activated."""
    beside = str(Path(sys.executable).parent)
    path = os.pathsep.join([beside, os.environ.get("PATH", "")])
    try:
        return subprocess.call([program, *arguments], env=os.environ | {"PATH": path})
    except FileNotFoundError:
        raise Fault(f"{program}: not installed; run `make setup`") from None
