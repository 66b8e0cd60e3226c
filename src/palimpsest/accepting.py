"""After a harmless change of code: says that the new code counts as that which made what is here.

Keys stay what they were, so no folder is renamed, and every clone of the commit agrees.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from palimpsest import plan, store
from palimpsest.faults import Fault
from palimpsest.schedule import Schedule, order

HEAD = """# Which code counts as which: written by `palimpsest accept STAGE` after a change that
# leaves every number what it was. By stage: fingerprint of the code now: the one in the keys.
"""


def accept(to_do: Schedule, stage: str) -> dict[str, str]:
    """Write down, for each missing artifact of a stage, which code made the one that is here.

    Returns new fingerprint → old. Raises Fault if there is nothing to accept, or two old codes.
    """
    found = _made_by(to_do, stage, store.RUNS) or _made_by(to_do, stage, store.ATTIC)
    if not found:
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
    upstream = {a.stage for artifact in missing for a in artifact.upstream()}
    first = next((s for s in to_do.order if s in upstream and to_do.missing(s)), None)
    if first:
        return f"{stage}: its inputs are missing too; accept {first} first, then {stage}"
    return (
        f"{stage}: nothing here was made with the same params and data by other code; "
        "`palimpsest status` says why it would run"
    )


def _write(stage: str, new: dict[str, str]) -> None:
    content = plan.accepted()
    content[stage] = content.get(stage, {}) | new
    store.write_text(plan.ACCEPTED, HEAD + yaml.safe_dump(content, sort_keys=True))
