"""An artifact on disk: complete or absent. Scratch, commit, attic, index, ledger.

Everything is relative to the project's root, which is the current directory of every process.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palimpsest.faults import Fault

RUNS, RESULTS, WORK = Path("runs"), Path("results"), Path(".work")
ATTIC, SCRATCH, LOCKS = WORK / "attic", WORK / "scratch", WORK / "locks"
BATCHES, MARKERS, RECORDS = WORK / "batches", WORK / "done", WORK / "records"
LEDGER, ATTEMPTS = WORK / "ledger.jsonl", WORK / "attempts.jsonl"
KNOWN = WORK / "known"
RECORDED = WORK / "recorded"  # what DVC was last told
META, FILES = "meta.json", "files.txt"


# Where things are


def artifact(stage: str, name: str) -> Path:
    """Return the folder of an artifact that the present params ask for."""
    return RUNS / stage / name


def parked(stage: str, name: str) -> Path:
    """Return the folder of an artifact that waits in the attic."""
    return ATTIC / stage / name


def index(stage: str, key: str) -> Path:
    """Return the file that lists a stage's artifacts; its name is the hash of what it lists."""
    return RUNS / stage / f"index-{key}.json"


def batch(stage: str, name: str) -> Path:
    """Return the written-down batch: specs of its members and the markers it waits for."""
    return BATCHES / stage / f"{name}.json"


def index_order(stage: str, key: str) -> Path:
    """Return the written-down order to an index step."""
    return BATCHES / stage / f"index-{key}.json"


def marker(stage: str, name: str) -> Path:
    """Return the file that says a batch is done."""
    return MARKERS / stage / name


def results_key(key: str) -> Path:
    """Return the file that says which report stands in results/."""
    return RESULTS / "report" / f".key-{key}"


def record(stage: str, name: str) -> Path:
    """Return the provenance record: host, times, versions, speed; never an input of anything."""
    return RECORDS / stage / f"{name}.json"


def known(stage: str, code: str) -> Path:
    """Return the folder in which a stage's code keeps results by what they were computed from."""
    return KNOWN / stage / code


def folders(stage: str) -> set[str]:
    """Return the names of a stage's complete artifacts, here or in the attic."""
    return _folders(RUNS / stage) | _folders(ATTIC / stage)


def _folders(parent: Path) -> set[str]:
    with contextlib.suppress(FileNotFoundError):
        return {e.name for e in os.scandir(parent) if e.is_dir() and whole(Path(e.path))}
    return set()


def whole(folder: Path) -> bool:
    """Return whether a folder holds every file that it was committed with.

    A commit is one rename; but a `dvc pull` that is killed leaves folders half filled.
    """
    try:
        wanted = listed(folder).items()  # plain texts: Path took a tenth of planning 3,000 runs
        return all(os.stat(f"{folder}/{name}").st_size == n for name, n in wanted)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False


def listed(folder: Path) -> dict[str, int]:
    """Return the size in bytes of each file that a finished folder was committed with."""
    lines = (folder / FILES).read_text("utf-8").split("\n")
    sizes = (line.split(" ", 1) for line in lines if line)
    return {name: int(size) for size, name in sizes}


def sizes(folder: Path) -> dict[str, int]:
    """Return the size in bytes of each file that lies in a folder now."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def list_files(folder: Path) -> None:
    """Write down names and sizes of all files of a finished folder, for `whole`."""
    lines = [f"{size} {name}\n" for name, size in sizes(folder).items()]
    (folder / FILES).write_text("".join(lines), "utf-8")


# Building one artifact


@contextlib.contextmanager
def building(stage: str, name: str) -> Iterator[None]:
    """Hold the artifact's lock on this host. It saves work; correctness rests on the rename."""
    LOCKS.mkdir(parents=True, exist_ok=True)
    with (LOCKS / f"{stage}-{name}").open("a") as file:
        with contextlib.suppress(OSError):  # some shared file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def restore(stage: str, name: str) -> bool:
    """Return whether the artifact stands in runs/, taken back from the attic if need be."""
    target = artifact(stage, name)
    if target.is_dir():
        if whole(target):
            return True
        shutil.rmtree(target)
    if whole(parked(stage, name)):
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another host was first
            parked(stage, name).rename(target)
    return target.is_dir()


def find(stage: str, name: str) -> Path:
    """Return an input's folder: runs/ first, then the attic. Fault if it is in neither."""
    for folder in (artifact(stage, name), parked(stage, name)):
        if whole(folder):
            return folder
    raise Fault(f"runs/{stage}/{name}: missing input; run `palimpsest status` to see what is")


def new_attempt(stage: str, name: str) -> Path:
    """Make this attempt's own scratch folder, with the newest resumable state of any attempt."""
    attempts = SCRATCH / stage / name
    folder = attempts / uuid.uuid4().hex[:12]
    folder.mkdir(parents=True)
    states = [path for path in attempts.glob("*/resume.pt") if path.parent != folder]
    if states:
        newest = max(states, key=lambda path: path.stat().st_mtime_ns)
        # A state file is only ever replaced whole, so a link to it stays what it is.
        os.link(newest, folder / "resume.pt")
    return folder


def commit(stage: str, name: str, scratch: Path) -> bool:
    """Rename the finished folder into place; False, and nothing kept, if a twin was first."""
    list_files(scratch)
    for path in scratch.rglob("*"):
        _flush(path)
    _flush(scratch)
    target = artifact(stage, name)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        scratch.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(scratch)
        return False
    _flush(target.parent)
    shutil.rmtree(SCRATCH / stage / name, ignore_errors=True)
    return True


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# The index of a stage


def shelve(stage: str, key: str, wanted: list[str]) -> None:
    """Write the stage's index, take back what it names, and park everything else.

    Raises Fault if an artifact of the index exists nowhere.
    """
    for name in wanted:
        with building(stage, name):
            if not restore(stage, name):
                raise Fault(f"runs/{stage}/{name}: its batch is done, yet it is missing; run again")
    write_json(index(stage, key), wanted)
    for entry in list(os.scandir(RUNS / stage)):
        if entry.name not in wanted and entry.name != f"index-{key}.json":
            _park(stage, entry)


def _park(stage: str, entry: os.DirEntry[str]) -> None:
    if not entry.is_dir():
        Path(entry.path).unlink()
        return
    target = parked(stage, entry.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with building(stage, entry.name):
        if whole(target) or not whole(Path(entry.path)):
            shutil.rmtree(entry.path)
        else:
            shutil.rmtree(target, ignore_errors=True)
            Path(entry.path).rename(target)


# Files


def write_text(path: Path, text: str) -> None:
    """Write a whole file beside its place, then rename it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys, whole or not at all."""
    write_text(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text("utf-8"))


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def enter_ledger(entry: dict[str, Any]) -> None:
    """Append one line about a build to the ledger; short appends do not interleave."""
    _append(LEDGER, entry)


def enter_attempt(entry: dict[str, Any]) -> None:
    """Append one line about an attempt that begins; its end, if it wins, is in the ledger."""
    _append(ATTEMPTS, entry)


def _append(path: Path, entry: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, sort_keys=True) + "\n")
