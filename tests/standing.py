"""Artifacts as a plan orders them, put on disk without being built."""

from palimpsest import store
from palimpsest.plan import Artifact, Plan
from palimpsest.schedule import Schedule, order


def stand(*artifacts: Artifact, place=store.artifact) -> None:
    """Put folders on disk that say of themselves what the plan says of them."""
    for artifact in artifacts:
        folder = place(artifact.stage, artifact.name)
        asked = order(artifact)
        parts = {name: asked[name] for name in ("key", "spec", "inputs", "source", "code")}
        store.write_json(folder / store.META, parts | {"weights_sha256": {}})
        (folder / "number").write_text(artifact.key)
        store.list_files(folder)


def stand_all(plan: Plan) -> None:
    """Put every artifact of a plan on disk."""
    for members in plan.by_stage.values():
        stand(*members.values())


def missing(to_do: Schedule) -> dict[str, int]:
    """Return how many artifacts of each stage are missing; stages without any left out."""
    counts = {stage: len(to_do.missing(stage)) for stage in to_do.order}
    return {stage: n for stage, n in counts.items() if n}
