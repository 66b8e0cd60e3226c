"""Takes back the artifacts that an earlier commit's dvc.lock names, into the attic."""

from __future__ import annotations

import shutil
import uuid

from palimpsest import store
from palimpsest.faults import Fault
from palimpsest.vault import Files, Vault


def lost(vault: Vault, *, revision: str, stages: tuple[str, ...]) -> dict[tuple[str, str], Files]:
    """Return the artifacts of a commit that are neither in runs/ nor in the attic."""
    named = vault.named_by(revision)
    here = {stage: store.folders(stage) for stage, _ in named}
    return {
        (stage, name): variants[0]
        for (stage, name), variants in named.items()
        if name not in here[stage] and stage in stages
    }


def take_back(vault: Vault, stage: str, name: str, files: Files) -> None:
    """Put an artifact whole into the attic, from where the next run takes it.

    Raises Fault if a part of it is neither in DVC's cache nor on the remote.
    """
    if gone := vault.lacks(files.values()):
        raise Fault(
            f"runs/{stage}/{name}: {len(gone)} of {len(files)} files are neither in DVC's cache "
            "nor on the default remote; see `dvc remote list`, or run to build it again"
        )
    vault.fetch(files.values())
    fresh, target = store.SCRATCH / "restore" / uuid.uuid4().hex[:12], store.parked(stage, name)
    for file, content in files.items():
        vault.copy(content, fresh / file)
    if not store.whole(fresh):
        raise Fault(f"runs/{stage}/{name}: DVC holds only a part of it; a run computes it again")
    target.parent.mkdir(parents=True, exist_ok=True)
    with store.building(stage, name):
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
