"""After a harmless change of code: says that the new code counts as that which made what is here.

Keys stay what they were, so no folder is renamed, and every clone of the commit agrees.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml

from palimpsest import plan, store
from palimpsest.faults import Fault
from palimpsest.schedule import Schedule, order

HEAD = """# Which code counts as which: written by `palimpsest accept STAGE` after a change that
# leaves every number what it was. By stage: fingerprint of the code now: the one in the keys.
"""


def accept(plan_again: Callable[[], Schedule], stage: str) -> dict[str, str]:
    """Write down, for each missing artifact of a stage, which code made the one that is here.

    Phases follow phases: once the code of the first is accepted, the next can be told. Returns new
    fingerprint → old. Raises Fault, and writes nothing, if there is nothing to accept, or two old
    codes.
    """
    before = plan.ACCEPTED.read_text("utf-8") if plan.ACCEPTED.exists() else None
    new: dict[str, str] = {}
    try:
        while found := _accept(plan_again(), stage, more=bool(new)):
            new |= found
    except Fault:
        _put_back(before)
        raise
    return new


def _accept(to_do: Schedule, stage: str, *, more: bool) -> dict[str, str]:
    """Accept what can be told with what is accepted already; with `more`, nothing is no fault."""
    found = _made_by(to_do, stage, store.RUNS) or _made_by(to_do, stage, store.ATTIC)
    if not found:
        if more:
            return {}
        raise Fault(_nothing(to_do, stage))
    for codes in found.values():
        if len(codes) > 1:
            raise Fault(
                f"{stage}: {len(codes)} older versions of its code made what is here "
                f"({', '.join(sorted(codes))}); `palimpsest prune` the attic, or run {stage} again"
            )
    new = {own: codes.pop() for own, codes in found.items()}
    _write(stage, new)
    return new


def _made_by(to_do: Schedule, stage: str, place: Path) -> dict[str, set[str]]:
    """Return present fingerprint → fingerprints that made the same artifacts in a place."""
    folders = [path for path in (place / stage).glob("*-*") if store.whole(path)]
    metas = [store.read_json(path / store.META) for path in folders]
    found: dict[str, set[str]] = {}
    for artifact in to_do.missing(stage):
        own, asked = to_do.plan.own_code(stage, artifact.spec), order(artifact)
        for meta in metas:
            if all(meta[part] == asked[part] for part in ("spec", "inputs", "source")):
                found.setdefault(own, set()).add(meta["code"])
    return found


def _nothing(to_do: Schedule, stage: str) -> str:
    missing = to_do.missing(stage)
    if not missing:
        return f"{stage}: nothing is missing, so there is nothing to accept"
    inputs = {a for artifact in missing for a in artifact.upstream() if to_do.is_missing(a)}
    upstream = {artifact.stage for artifact in inputs} - {stage}
    first = next((name for name in to_do.order if name in upstream), None)
    if first:
        return f"{stage}: its inputs are missing too; accept {first} first, then {stage}"
    return (
        f"{stage}: nothing here was made with the same params and data by other code; "
        "`palimpsest status` says why it would run"
    )


def _put_back(before: str | None) -> None:
    if before is None:
        plan.ACCEPTED.unlink(missing_ok=True)
    else:
        store.write_text(plan.ACCEPTED, before)


def _write(stage: str, new: dict[str, str]) -> None:
    content = plan.accepted()
    content[stage] = content.get(stage, {}) | new
    store.write_text(plan.ACCEPTED, HEAD + yaml.safe_dump(content, sort_keys=True))
