"""Why an artifact would be built: what sets it apart from the one that it replaces."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from palimpsest import params as P
from palimpsest import store
from palimpsest.experiments import Phase
from palimpsest.plan import Artifact
from palimpsest.schedule import Schedule, order

MOST_ITEMS = 3  # of a list that are named; of the others the number
ABSENT = "absent"
MOST_CHANGES = 3  # a candidate that differs in more is not an older version of the same thing
OWN = (
    "seed",
    "kind",
    "base_step",
    "kept",
)  # another of these is another thing, not a newer version

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
    ("evals", "folder"): "base_step",
    ("tables", "runs"): "experiments",
}
OF_THE_INPUTS = {("recall", "phases"), ("tables", "probes")}  # leaves that repeat them


@dataclass(frozen=True)
class Old:
    """An artifact on disk: what it was made from, and why it is here."""

    name: str
    meta: dict[str, Any]
    leaves: dict[str, Any]
    parked: bool
    other_code: bool


class Reasons:
    """Compares missing artifacts of a stage with what is here.

    One that stands in runs/ though nobody asks for it any more is what would be replaced. What is
    parked is another study's, so that it is compared only under the same label.
    """

    def __init__(self, to_do: Schedule, stage: str):
        self._to_do, self._stage = to_do, stage
        self._older: dict[tuple[Any, ...], list[Old]] = {}
        for name in sorted(store.folders(stage) - set(to_do.wanted(stage))):
            old = self._old(name)
            self._older.setdefault(_own(old.leaves), []).append(old)
        self._standing: dict[tuple[Any, ...], list[tuple[dict[str, Any], dict[str, str]]]] = {}
        for artifact in to_do.wanted(stage).values():
            if not to_do.is_missing(artifact):
                made_of = self._leaves(artifact.spec), artifact.source
                self._standing.setdefault(_thing(artifact), []).append(made_of)

    def _old(self, name: str) -> Old:
        folder = store.find(self._stage, name)
        meta = store.read_json(folder / store.META)
        other_code = self._to_do.plan.code(self._stage, meta["spec"]) != meta["code"]
        parked = folder.is_relative_to(store.ATTIC)
        return Old(name, meta, self._leaves(meta["spec"]), parked, other_code)

    def of(self, artifact: Artifact) -> list[str]:
        """Return what makes an artifact differ from the nearest one that it could replace.

        It is new if another that is asked for, and stands, is as near: then it was only added.
        """
        leaves = self._leaves(artifact.spec)
        candidates = (
            old for old in self._older.get(_own(leaves), []) if _comparable(old, artifact)
        )
        sizes = {old.name: (self._n_changes(old, artifact, leaves), old) for old in candidates}
        near = [pair for pair in sizes.values() if pair[0] <= MOST_CHANGES]
        if not near:
            return ["new"]
        n_changes, old = min(near, key=lambda pair: _order(*pair, label=artifact.label))
        if old.parked and n_changes >= self._n_from_standing(artifact, leaves):
            return ["new"]
        return self._changes(old, artifact, leaves) or [self._follows(old, artifact)]

    @staticmethod
    def _n_changes(old: Old, artifact: Artifact, leaves: dict[str, Any]) -> float:
        """Return in how much an older artifact differs.

        Another code counts half: the same thing made by older code is nearer than another thing.
        """
        names = _different(old.leaves, leaves)
        files = _different(old.meta["source"], artifact.source)
        return len(names) + len(files) + 0.5 * old.other_code

    def _n_from_standing(self, artifact: Artifact, leaves: dict[str, Any]) -> float:
        """Return in how much the nearest differs that is asked for and stands; maybe infinite."""
        counts = (
            len(_different(standing, leaves)) + len(_different(source, artifact.source))
            for standing, source in self._standing.get(_thing(artifact), [])
        )
        return min(counts, default=math.inf)

    def _changes(self, old: Old, artifact: Artifact, leaves: dict[str, Any]) -> list[str]:
        """Return in words how an older artifact differs by itself, its inputs left out."""
        changes = [
            f"parameter {self._place(name, artifact)}: "
            + _change(old.leaves.get(name, ABSENT), leaves.get(name, ABSENT))
            for name in sorted(_different(old.leaves, leaves))
        ]
        files = sorted(_different(old.meta["source"], artifact.source))
        changes += [f"data {file}" for file in files]
        return changes + [f"code of stage {self._stage}"] * old.other_code

    def _leaves(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Return each plain value of a spec by its place; what the inputs tell too is left out."""
        leaves = dict(_walk(spec, ""))
        return {n: value for n, value in leaves.items() if (self._stage, n) not in OF_THE_INPUTS}

    def _follows(self, old: Old, artifact: Artifact) -> str:
        """Return the stages of the inputs that are missing, or that are others than they were."""
        asked = order(artifact)["inputs"]
        other = [a for role in asked for a in _given(artifact, role) if self._to_do.is_missing(a)]
        if not other:
            changed = (role for role in asked if asked[role] != old.meta["inputs"].get(role))
            other = [a for role in changed for a in _given(artifact, role)]
        stages = [stage for stage in self._to_do.order if stage in {a.stage for a in other}]
        if not stages:
            return f"parameter {self._place('runs', artifact)}: the same runs under other names"
        return f"follows from {', '.join(stages)}"

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


def _thing(artifact: Artifact) -> tuple[Any, ...]:
    """Return what two artifacts must share to be versions of one thing."""
    return (artifact.model or artifact.label, *_own(artifact.spec))


def _own(leaves: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(leaves.get(name) for name in OWN)


def _given(artifact: Artifact, role: str) -> list[Artifact]:
    given = artifact.inputs[role]
    return given if isinstance(given, list) else [given]


def _comparable(old: Old, artifact: Artifact) -> bool:
    """Return whether an older artifact's name says that it was one of the same model, or label."""
    same = old.name.rpartition("-")[0] == artifact.label
    return same or (not old.parked and old.name.startswith(f"{artifact.model or artifact.label}_"))


def _order(n_changes: float, old: Old, *, label: str) -> tuple[Any, ...]:
    """Return what sorts the nearest first; of equally near ones what is not parked, by label."""
    other_label = old.name.rpartition("-")[0] != label
    return math.floor(n_changes), old.parked, other_label, n_changes, old.name


def _different(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """Return the names under which two mappings hold something else."""
    return {name for name, _ in one.items() ^ other.items()}


def _walk(node: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield each plain value below a node by its place, lists as tuples."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _walk(value, f"{place}.{key}" if place else key)
    else:
        yield place, _plain(node)


def _plain(value: Any) -> Any:
    """Return a value that can be compared and counted; of a run in a list, its label."""
    if isinstance(value, list | tuple):
        return tuple(_plain(item) for item in value)
    if isinstance(value, dict):
        return str(value["run"]).rpartition("-")[0] if "run" in value else repr(value)
    return value


def _change(old: Any, new: Any) -> str:
    """Say how a value changed; of a list, what was added and removed."""
    if not (isinstance(old, tuple) and isinstance(new, tuple)):
        return f"{_shown(old)} → {_shown(new)}"
    parts = {"added": Counter(new) - Counter(old), "removed": Counter(old) - Counter(new)}
    said = [f"{word} {_some(list(items.elements()))}" for word, items in parts.items() if items]
    return ", ".join(said) or "in another order"


def _some(items: list[Any]) -> str:
    shown = " ".join(map(_shown, items[:MOST_ITEMS]))
    return shown + (f" and {len(items) - MOST_ITEMS} more" if len(items) > MOST_ITEMS else "")


def _shown(value: Any) -> str:
    """Write a value as YAML does."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)
