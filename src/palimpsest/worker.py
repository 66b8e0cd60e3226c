"""One process, many artifacts: skip what exists, build the rest in scratch, commit by rename.

Called by the rules: `python -m palimpsest.worker build STAGE BATCH`, `index STAGE KEY`, `tidy STAGE
KEY`, `publish KEY`. It reads what the planner wrote down and never params.yaml.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import platform
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from palimpsest import progress, provenance, publish, store
from palimpsest.faults import Fault, of_system

MFU = {"mfu_formula": "6 * non-embedding weights * tokens / (seconds * peak of dense bf16)"}
QUIET = ("TQDM_DISABLE", "HF_DATASETS_DISABLE_PROGRESS_BARS")


def main(arguments: list[str]) -> int:
    """Run one job; return its exit code."""
    for variable in QUIET:  # bars of libraries; ours are lines
        os.environ.setdefault(variable, "1")
    verb, *rest = arguments
    jobs: dict[str, Callable[..., None]] = {
        "build": build,
        "index": index,
        "tidy": index,
        "publish": publish.publish,
    }
    try:
        jobs[verb](*rest)
    except Fault as fault:
        progress.say(f"error: {fault}")
        return 1
    except OSError as error:
        told = of_system(error)
        if told is None:
            raise
        progress.say(f"error: {told}")
        return 1
    return 0


def index(stage: str, key: str) -> None:
    """Write a stage's index and park what it does not name."""
    store.shelve(stage, key, store.read_json(store.index_order(stage, key))["wanted"])


def build(stage: str, batch: str) -> None:
    """Build the missing members of a batch; one that fails does not stop the others.

    Raises Fault at the end that names those that failed.
    """
    members = store.read_json(store.batch(stage, batch))["members"]
    failed, pace = [], progress.Pace()
    for number, member in enumerate(members, start=1):
        progress.begin(f"{stage} {number}/{len(members)} {_short(member)}")
        with store.building(stage, member["name"]):
            began, here = time.monotonic(), store.restore(stage, member["name"])
            if here or _attempt(stage, member):
                if not here:
                    pace.add(time.monotonic() - began, _work(member))
                _tell(stage, members, number, pace=pace)
            else:
                failed.append(member["name"])
        gc.collect()
    if failed:
        raise Fault(f"{stage}: {len(failed)} of {len(members)} failed: {', '.join(failed)}")


def _attempt(stage: str, member: dict[str, Any]) -> bool:
    """Build one artifact in its own scratch folder; return whether it stands."""
    module = _stage(stage)  # before the clock: importing torch is no cost of this artifact
    started = time.time(), time.process_time()
    scratch = store.new_attempt(stage, member["name"])
    origin = _origin(stage, member, scratch, started[0])
    store.enter_attempt(origin)
    try:
        inputs = {role: _folders(given) for role, given in member["inputs"].items()}
        inputs["known"] = store.known(stage, member["code"])
        module.build(member["spec"], inputs, scratch)
    except Fault as fault:
        progress.say(f"error: {stage} {member['name']}: {fault}")
        return False
    except OSError as error:
        told = of_system(error)
        if told is None:
            traceback.print_exc()
        else:
            progress.say(f"error: {stage} {member['name']}: {told}")
        return False
    except Exception:
        traceback.print_exc()
        return False
    store.write_json(scratch / store.META, _meta(member, scratch))
    if store.commit(stage, member["name"], scratch):
        _enter_record(stage, member, origin, started)
    return True


def _tell(stage: str, members: list[dict[str, Any]], number: int, *, pace: progress.Pace) -> None:
    """Say that a member stands, and how long the rest of the batch takes by the costs so far."""
    if progress.quiet():
        return
    left = pace.left(sum(map(_work, members[number:])), of=" for this batch")
    progress.say(f"{stage} {number}/{len(members)}: {_short(members[number - 1])} stands{left}")


def _work(member: dict[str, Any]) -> float:
    """Return how much work a member was planned to be."""
    return max(float(member["cost_seconds"]), 1e-3)


def _stage(stage: str) -> Any:
    """Import the stage; the seconds that torch needs are spent only when something is missing."""
    module = importlib.import_module(f"palimpsest.stages.{stage}")
    torch = sys.modules.get("torch")
    if torch is not None:
        _keep_freed_memory()
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        torch.use_deterministic_algorithms(True, warn_only=True)
        _spare_the_collector()
    return module


def _spare_the_collector() -> None:
    """Keep the libraries' own objects out of collections: 0.25 s after each artifact."""
    if not gc.get_freeze_count():
        gc.freeze()


def _keep_freed_memory() -> None:
    """Tell glibc to keep the logits' memory from step to step: small models gain 1.3–1.7×."""
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 32 << 20)
        libc.mallopt(trim_threshold, 2**31 - 1)


def _folders(given: list[Any]) -> Path | list[Path]:
    if given and isinstance(given[0], str):
        return store.find(*given)
    return [store.find(*pair) for pair in given]


def _meta(member: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """Return what the key determines; the same in every attempt, on every host."""
    weights = {
        path.relative_to(scratch).as_posix(): store.sha256(path)
        for path in sorted(scratch.rglob("*.safetensors"))
    }
    known = {name: member[name] for name in ("key", "spec", "inputs", "code", "source")}
    return known | {"weights_sha256": weights}


def _origin(stage: str, member: dict[str, Any], scratch: Path, started: float) -> dict[str, Any]:
    """Return who works on what since when; `slurm_job` is empty outside a cluster."""
    return {
        "stage": stage,
        "name": member["name"],
        "attempt": scratch.name,
        "host": socket.gethostname(),
        "process": os.getpid(),
        "slurm_job": os.environ.get("SLURM_JOB_ID", ""),
        "started": started,
    }


def _enter_record(
    stage: str, member: dict[str, Any], origin: dict[str, Any], started: tuple[float, float]
) -> None:
    entry = {
        **origin,
        "wall_seconds": time.time() - started[0],
        "cpu_seconds": time.process_time() - started[1],
        "estimated_seconds": member["cost_seconds"],
        **provenance.here(),
        **(MFU if "mfu" in progress.notes() else {}),
        **{f"measured_{name}": amount for name, amount in progress.notes().items()},
    }
    store.write_json(store.record(stage, member["name"]), entry | progress.series())
    store.enter_ledger(entry)


def _short(member: dict[str, Any]) -> str:
    return str(member["name"]).removesuffix(f"-{member['key']}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
