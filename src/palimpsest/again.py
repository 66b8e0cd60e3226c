"""Builds artifacts a second time: those of a stage, and what follows from any that came out other.

The first ones are set aside until then. If a job fails, they are put back.
"""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from palimpsest import progress, store
from palimpsest.plan import Artifact
from palimpsest.schedule import Schedule, own

ASIDE = store.WORK / "again"


def build_again(to_do: Schedule, stage: str, build: Callable[[str, list[Artifact]], int]) -> int:
    """Build a stage's artifacts again with `build(target, artifacts)`; return its code.

    The first exit code but 0 ends it.
    """
    differing: set[Artifact] = set()
    for name in to_do.order[to_do.order.index(stage) :]:
        chosen = list(_chosen(to_do, name, everything=name == stage, differing=differing))
        if not chosen:
            continue
        with own(wait=False):
            _move(chosen, to=_aside)
            shutil.rmtree(store.KNOWN / name, ignore_errors=True)
        code = build(f"stage_{name}", chosen)
        if code:
            _move([a for a in chosen if not _place(a).exists()], to=_place)
            return code
        other = [artifact for artifact in chosen if not _same(_aside(artifact), _place(artifact))]
        differing |= set(other)
        progress.say(f"{name}: {len(chosen)} built again, {len(other)} came out different")
        shutil.rmtree(ASIDE)
    return 0


def _chosen(
    to_do: Schedule, stage: str, *, everything: bool, differing: set[Artifact]
) -> Iterator[Artifact]:
    """Yield what is to be built again: all of the stage, or what reads something that differs."""
    reached = set(differing)
    for artifact in to_do.wanted(stage).values():
        if everything or not reached.isdisjoint(artifact.upstream()):
            reached.add(artifact)
            if not to_do.is_missing(artifact):
                yield artifact


def _move(artifacts: list[Artifact], *, to: Callable[[Artifact], Path]) -> None:
    """Move artifacts from wherever they are, out of the way or back."""
    for artifact in artifacts:
        places = (_place(artifact), store.parked(artifact.stage, artifact.name), _aside(artifact))
        source = next(place for place in places if place.exists() and place != to(artifact))
        shutil.rmtree(to(artifact), ignore_errors=True)
        to(artifact).parent.mkdir(parents=True, exist_ok=True)
        source.rename(to(artifact))


def _place(artifact: Artifact) -> Path:
    return store.artifact(artifact.stage, artifact.name)


def _aside(artifact: Artifact) -> Path:
    return ASIDE / artifact.stage / artifact.name


def _same(one: Path, other: Path) -> bool:
    """Return whether two folders hold the same files, byte for byte."""
    names = store.sizes(one)
    return names == store.sizes(other) and not any(
        filecmp.cmpfiles(one, other, list(names), shallow=False)[1:]
    )
