"""Recomputes what an artifact says of itself: its key, its files' sizes and its weights' hashes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palimpsest import store
from palimpsest.fingerprint import digest
from palimpsest.vault import Named, contents


def artifacts(stages: tuple[str, ...]) -> list[Path]:
    """Return the folders of every artifact, asked for or parked."""
    places = (place / stage for stage in stages for place in (store.RUNS, store.ATTIC))
    return [path for place in places for path in sorted(place.glob("*-*")) if path.is_dir()]


def damage(folder: Path, named: Named) -> list[str]:
    """Return what is wrong with an artifact, one line for each finding; empty if it is sound."""
    faults = list(_in_the_list(folder))
    if not faults:
        faults += _in_the_weights(folder)
        faults += _against_dvc(folder, named)
    return faults


def _in_the_list(folder: Path) -> Iterator[str]:
    """Compare names and sizes with the list that was written when the artifact was finished."""
    if not (folder / store.FILES).exists() or not (folder / store.META).exists():
        yield f"{store.FILES} or {store.META} is missing"
        return
    listed = store.listed(folder)
    here = {name: size for name, size in store.sizes(folder).items() if name != store.FILES}
    yield from (f"{name} is missing" for name in sorted(set(listed) - set(here)))
    yield from (f"{name} does not belong to it" for name in sorted(set(here) - set(listed)))
    yield from (
        f"{name} has {here[name]} bytes instead of {listed[name]}"
        for name in sorted(set(here) & set(listed))
        if here[name] != listed[name]
    )


def _in_the_weights(folder: Path) -> Iterator[str]:
    meta = store.read_json(folder / store.META)
    if not folder.name.endswith(f"-{_key(folder.parent.name, meta)}"):
        yield f"{store.META} describes an artifact of another key"
    for name, expected in meta["weights_sha256"].items():
        if store.sha256(folder / name) != expected:
            yield f"{name} is not the weights that were written: its SHA-256 differs"


def _key(stage: str, meta: dict[str, Any]) -> str:
    """Return the key that follows from what an artifact says of itself."""
    keys = {role: _keys(given) for role, given in meta["inputs"].items()}
    return digest([stage, meta["spec"], keys, meta["source"], meta["code"]])


def _keys(given: list[Any]) -> Any:
    """Return the key at the end of an input's name, or those of a list of inputs."""
    if given and isinstance(given[0], str):
        return given[1].rpartition("-")[2]
    return [name.rpartition("-")[2] for _, name in given]


def _against_dvc(folder: Path, named: Named) -> Iterator[str]:
    """Compare every file with what DVC recorded, if it ever did."""
    recorded = named.get((folder.parent.name, folder.name))
    if not recorded:
        return
    here = contents(folder)
    if here not in recorded:
        nearest = min((files.items() ^ here.items() for files in recorded), key=len)
        differing = sorted({name for name, _ in nearest})
        yield f"{', '.join(differing)}: not what DVC recorded"


def remedy(folder: str) -> str:
    """Return what to do about a damaged artifact."""
    stage = Path(folder).parent.name
    return (
        f"remove it (rm -r {folder}); then `dvc checkout runs/{stage}` takes it from DVC's cache, "
        "or `palimpsest run` computes it again"
    )
