"""Why an artifact would be built: what sets it apart from the one that it replaces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from palimpsest import params as P
from palimpsest import store
from palimpsest.experiments import Phase
from palimpsest.plan import Artifact
from palimpsest.schedule import Schedule

MOST_CHANGES = 3  # a candidate that differs in more is not an older version of the same thing
OWN = ("seed", "kind", "base_step")  # another of these is another thing, not a newer version

# Where the parameters of a stage's specs stand in params.yaml; {model} is the artifact's size.
SECTIONS: dict[str, tuple[tuple[str, type[BaseModel]], ...]] = {
    "bases": (("models.sizes.{model}", P.Size), ("models.pretraining", P.Pretraining)),
    "probes": (("probe", P.Probe), ("phase", Phase)),
    "recall": (("recall", P.Recall),),
    "evals": (("evals", P.Evals),),
    "fits": (("fits", P.Fits),),
    "report": (("report", P.Report),),
}
CORPORA = {"documents": "original", "sessions": "new"}  # sections named other than their kind

# Leaves that are called otherwise in params.yaml, by the kind of spec or the stage.
ELSEWHERE = {
    ("benchmark", "revision"): "evals.revisions.{task}",
    ("benchmark", "lm_eval"): "version of lm_eval",
    ("published-tokenizer", "path"): "models.hub.{tokenizer}.path",
    ("published-tokenizer", "repo"): "models.hub.{tokenizer}.repo",
    ("published-tokenizer", "revision"): "models.hub.{tokenizer}.revision",
    ("same-tokenizer", "path"): "models.hub.{checked}.path",
    ("published", "path"): "models.hub.{model}.path",
    ("published", "repo"): "models.hub.{model}.repo",
    ("published", "revision"): "models.hub.{model}.revision",
    ("landscape", "landscape"): "probe.landscape_replay",
    ("losses", "sequence_length"): "phase.stream.sequence_length",
    ("fisher", "sequence_length"): "phase.stream.sequence_length",
    ("fisher", "n_tokens"): "phase.ewc.fisher_tokens",
    ("train", "epochs"): "phase.epochs",
    ("recall", "phases"): "experiments",
    ("evals", "folder"): "base_step",
    ("tables", "runs"): "experiments",
    ("tables", "probes"): "experiments",
}


class Reasons:
    """Compares missing artifacts of a stage with what is here and no longer asked for."""

    def __init__(self, to_do: Schedule, stage: str):
        self._to_do, self._stage = to_do, stage
        older = sorted(store.folders(stage) - set(to_do.wanted(stage)))
        self._older = {n: store.read_json(store.find(stage, n) / store.META) for n in older}

    def of(self, artifact: Artifact) -> list[str]:
        """Return what makes an artifact differ from the nearest one that it could replace."""
        candidates = (m for name, m in self._older.items() if _of_one_thing(name, artifact))
        changes = [c for meta in candidates if (c := self._changes(meta, artifact)) is not None]
        if not changes:
            return ["new"]
        best = min(changes, key=len)
        return best or [f"follows from {', '.join(self._missing_inputs(artifact)) or 'an input'}"]

    def _changes(self, meta: dict[str, Any], artifact: Artifact) -> list[str] | None:
        """Return how an older artifact differs; None if it is not a version of the same thing."""
        old, new = _leaves(meta["spec"]), _leaves(artifact.spec)
        if any(old.get(name) != new.get(name) for name in OWN):
            return None
        changes = [
            f"parameter {self._place(name, artifact)}: {_shown(old, name)} → {_shown(new, name)}"
            for name in sorted({*old, *new})
            if old.get(name) != new.get(name)
        ]
        changes += [
            f"data {file}"
            for file in sorted({*meta["source"], *artifact.source})
            if meta["source"].get(file) != artifact.source.get(file)
        ]
        if self._to_do.plan.code(self._stage, meta["spec"]) != meta["code"]:
            changes.append(f"code of stage {self._stage}")
        return changes if len(changes) <= MOST_CHANGES else None

    def _place(self, name: str, artifact: Artifact) -> str:
        """Return where a leaf of a spec stands in params.yaml."""
        first = name.split(".")[0]
        kind = artifact.spec.get("kind", self._stage)
        if (kind, first) in ELSEWHERE:
            return ELSEWHERE[kind, first].format(
                model=artifact.model,
                task=artifact.spec.get("task"),
                tokenizer=self._to_do.plan.params.corpora.tokenizer.model,
                checked=artifact.label.removeprefix("tokenizer_"),
            )
        if self._stage == "corpora":
            return f"corpora.{CORPORA.get(kind, kind)}.{name}"
        if first == "optimizer" or name.startswith("phase.optimizer."):
            return name.removeprefix("phase.")  # where every phase takes it from
        for section, model in SECTIONS.get(self._stage, ()):
            if first in model.model_fields:
                return f"{section.format(model=artifact.model)}.{name}"
        return name

    def _missing_inputs(self, artifact: Artifact) -> list[str]:
        upstream = {a.stage for a in artifact.upstream() if self._to_do.is_missing(a)}
        return [stage for stage in self._to_do.order if stage in upstream]


def _leaves(spec: dict[str, Any]) -> dict[str, Any]:
    return dict(_walk(spec, ""))


def _walk(node: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield each plain value below a node by its place; of a list of mappings, how long it is."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _walk(value, f"{place}.{key}" if place else key)
    elif isinstance(node, list) and node and isinstance(node[0], dict):
        yield place, f"{len(node)} of them"
    else:
        yield place, node


def _shown(leaves: dict[str, Any], name: str) -> str:
    if name not in leaves:
        return "absent"
    value = leaves[name]
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _of_one_thing(name: str, artifact: Artifact) -> bool:
    """Return whether an older artifact's name says that it was one of the same model, or label."""
    return name.startswith(f"{artifact.model}_" if artifact.model else f"{artifact.label}-")
