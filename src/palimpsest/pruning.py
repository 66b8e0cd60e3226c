"""What could be deleted without loss, and what stays because nothing else holds it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from palimpsest import store
from palimpsest.schedule import Schedule
from palimpsest.vault import Named, Vault, contents


@dataclass(frozen=True)
class Leftover:
    """A folder that the present params do not ask for; `kept` says why it must stay."""

    path: Path
    what: str
    n_bytes: int
    kept: str = ""


def leftovers(to_do: Schedule, vault: Vault) -> list[Leftover]:
    """Return what is not asked for, attempts whose artifacts stand, results of older code."""
    named = vault.named_by()
    found = [_judged(path, what, named, vault) for path, what in _artifacts(to_do)]
    found += [Leftover(path, "attempt", size(path)) for path in _attempts(to_do)]
    return found + [Leftover(path, "by older code", size(path)) for path in _outdated(to_do)]


def remove(leftover: Leftover) -> None:
    """Delete a folder that may go; first its list of files, so that a half is no artifact."""
    (leftover.path / store.FILES).unlink(missing_ok=True)
    shutil.rmtree(leftover.path)


def size(folder: Path) -> int:
    """Return how many bytes the files of a folder hold."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _artifacts(to_do: Schedule) -> Iterator[tuple[Path, str]]:
    """Yield what is parked, and what stands in runs/ though the params no longer ask for it."""
    for stage in to_do.order:
        for place, what in ((store.ATTIC, "parked"), (store.RUNS, "not asked for")):
            for path in sorted((place / stage).glob("*-*")):
                if path.is_dir() and (place == store.ATTIC or path.name not in to_do.wanted(stage)):
                    yield path, what


def _attempts(to_do: Schedule) -> Iterator[Path]:
    """Yield the scratch of artifacts that stand; what could still be resumed is left alone."""
    for path in sorted(store.SCRATCH.glob("*/*")):
        if path.name in store.folders(path.parent.name):
            yield path


def _outdated(to_do: Schedule) -> Iterator[Path]:
    """Yield what other code than today's kept by content: nothing takes from it any more.

    Of a stage that these params leave out nobody knows today's code: what it kept stays.
    """
    for folder in sorted(store.KNOWN.glob("*")):
        codes = {artifact.code for artifact in to_do.wanted(folder.name).values()}
        if codes:
            yield from (path for path in sorted(folder.iterdir()) if path.name not in codes)


def _judged(path: Path, what: str, named: Named, vault: Vault) -> Leftover:
    return Leftover(path, what, size(path), kept=_why_kept(path, named, vault))


def _why_kept(path: Path, named: Named, vault: Vault) -> str:
    """Return why DVC could not give these very bytes back; empty if it could."""
    recorded = named.get((path.parent.name, path.name))
    if recorded is None:
        return "no commit's dvc.lock names it"
    files = contents(path)  # fewer than recorded where an earlier prune was killed
    if not any(files.items() <= known.items() for known in recorded):
        return "DVC holds other bytes of it"
    if vault.lacks(files.values()):
        return "its files are neither in DVC's cache nor on the remote"
    return ""
