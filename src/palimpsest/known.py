"""Results kept under the content of what they were computed from, so that equal work is done once.

An entry is a folder, whole or absent, named by the hash of its parts: what the results depend on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from palimpsest.store import sha256

PARTS = "identity.json"


def once(
    place: Path, parts: dict[str, Any], files: Sequence[Path], compute: Callable[[], None]
) -> bool:
    """Fill `files`, copied byte for byte where equal parts gave them before; return whether so.

    An entry whose files are not those that were written down is computed again.
    """
    entry = place / hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    if _whole(entry, files):
        for file in files:
            shutil.copyfile(entry / file.name, file)
        return True
    compute()
    _keep(entry, parts, files)
    return False


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder by its path there."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    files = [file for file in files if file.parent.name != "__pycache__"]
    return {file.relative_to(folder).as_posix(): sha256(file) for file in files}


def _whole(entry: Path, files: Sequence[Path]) -> bool:
    try:
        told = json.loads((entry / PARTS).read_text("utf-8"))
        return bool(told["files"] == {file.name: sha256(entry / file.name) for file in files})
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False


def _keep(entry: Path, parts: dict[str, Any], files: Sequence[Path]) -> None:
    """Write an entry beside its place, then rename it there; of two writers the first one wins."""
    scratch = entry.with_name(f".{uuid.uuid4().hex}")
    scratch.mkdir(parents=True)
    for file in files:
        shutil.copyfile(file, scratch / file.name)
    told = {"parts": parts, "files": {file.name: sha256(file) for file in files}}
    (scratch / PARTS).write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", "utf-8")
    if not _whole(entry, files):
        shutil.rmtree(entry, ignore_errors=True)
    try:
        scratch.rename(entry)
    except OSError:
        if not entry.is_dir():
            raise
        shutil.rmtree(scratch)
