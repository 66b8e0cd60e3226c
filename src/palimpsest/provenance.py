"""Where, with what and at what cost a study was built → what stands beside its page.

None of this is in an artifact: it differs between machines, and the artifacts must not.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from palimpsest import store

PACKAGES = ("palimpsest", "torch", "transformers", "datasets", "lm-eval", "snakemake", "dvc")
ALIKE = ("commit", "python", "versions", "hardware")  # what `here` tells, of each artifact
SUMS = ("cpu_seconds", "wall_seconds", "measured_n_tokens", "measured_flops")
CODE = ("src", "workflow", "dvc.yaml", "Snakefile")  # params.yaml is the study's, not the code's
PAGE = re.compile(r'data-page="(\w+)"')  # the hash that the report stage writes into its page
FILE, CALL = "provenance.js", "showProvenance"  # a script: pages opened as files read no JSON
Record = dict[str, Any]


@cache
def here() -> dict[str, str]:
    """Return the commit, the versions and the hardware of this process; unknown parts are empty."""
    found = {name: _version(name) for name in PACKAGES}
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "versions": ", ".join(f"{name} {number}" for name, number in found.items() if number),
        "hardware": _hardware(),
    }


def of_study(records: Iterable[Record]) -> dict[str, Any]:
    """Return what records say about the artifacts that the indexes name.

    Artifacts that came from elsewhere have no record here; they are counted, and cost nothing.
    """
    wanted = _standing()
    built: dict[str, list[Record]] = {stage: [] for stage in wanted}
    for record in sorted(records, key=lambda one: float(one["started"])):
        if record["name"] in wanted.get(record["stage"], ()):
            built[record["stage"]].append(record)
    known = [record for found in built.values() for record in found]
    return {
        "origins": origins(known),
        "stages": [_row(stage, len(wanted[stage]), found) for stage, found in _in_order(built)],
        "total": _row("all", sum(map(len, wanted.values())), known),
        "busy_seconds": busy_seconds(known),
    }


def write(records: Iterable[Record], *, page: Path) -> None:
    """Write results/provenance.js, which the page loads, and which names that page."""
    content = json.dumps(of_study(records) | {"page": page_hash(page)}, sort_keys=True)
    store.write_text(store.RESULTS / FILE, f"{CALL}({content});\n")


def page_hash(page: Path) -> str:
    """Return the hash that a page carries; empty for a page without one."""
    found = PAGE.search(page.read_text("utf-8"))
    return found.group(1) if found else ""


def origins(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return the different commits, versions and machines, with how many artifacts each made."""
    counted: dict[tuple[str, ...], int] = {}
    for record in records:
        origin = tuple(str(record.get(name, "")) for name in ALIKE)
        counted[origin] = counted.get(origin, 0) + 1
    most_first = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return [dict(zip(ALIKE, origin, strict=True)) | {"n_artifacts": n} for origin, n in most_first]


def busy_seconds(records: Iterable[Record]) -> float:
    """Return for how long at least one artifact was being built, pauses left out."""
    spans = sorted((r["started"], r["started"] + r["wall_seconds"]) for r in records)
    busy, until = 0.0, float("-inf")
    for start, end in spans:
        busy += max(end - max(start, until), 0.0)
        until = max(until, end)
    return busy


def _standing() -> dict[str, set[str]]:
    """Return the artifacts of each stage that the indexes name."""
    files = sorted(store.RUNS.glob("*/index-*.json"))
    return {file.parent.name: set(store.read_json(file)) for file in files}


def _in_order(built: dict[str, list[Record]]) -> list[tuple[str, list[Record]]]:
    """Return the stages in the order in which they began."""
    return sorted(built.items(), key=lambda item: [record["started"] for record in item[1][:1]])


def _row(stage: str, n_artifacts: int, records: list[Record]) -> dict[str, Any]:
    """Return the sums over a stage's records; None where no record has the amount."""
    known = {name: [r[name] for r in records if r.get(name) is not None] for name in SUMS}
    sums = {name.removeprefix("measured_"): sum(x) if x else None for name, x in known.items()}
    return {"stage": stage, "n_artifacts": n_artifacts, "n_recorded": len(records), **sums}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    """Return the commit of the code, and whether code differs from it, new files included."""
    head = _git("rev-parse", "--short=12", "HEAD")
    changed = head and _git("status", "--porcelain", "--", *CODE)
    return f"{head} with changes" if changed else head


def _git(*arguments: str) -> str:
    command = ["git", "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _hardware() -> str:
    """Return the processor, its cores, the memory and the accelerator of this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = [_processor(), f"{cores} cores", f"{gib:.0f} GiB", _accelerator()]
    return ", ".join(part for part in parts if part)


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text("utf-8").splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _accelerator() -> str:
    """Return the name of the GPU, where this process has loaded torch and torch sees one."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch and torch.cuda.is_available() else ""
