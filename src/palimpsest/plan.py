"""params → runs → artifacts: names, keys, edges. Reads params.yaml, dvc.yaml and sources; no torch.

A key is the hash of an artifact's stage, its own resolved parameters, the keys of its inputs, the
content of its source data and the code of its stage. Nothing else decides whether it is valid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from palimpsest import params as P
from palimpsest import store
from palimpsest.core.plug_ins import nearest
from palimpsest.costs import Cost, paced
from palimpsest.faults import Fault
from palimpsest.fingerprint import digest, fingerprint
from palimpsest.layout import Layout

DVC_FILE, ACCEPTED = Path("dvc.yaml"), Path("workflow/accepted.yaml")
CODE_SUFFIXES = {".py", ".j2", ".css", ".js", ".csv"}
Inputs = dict[str, "Artifact | list[Artifact]"]


@dataclass(frozen=True, eq=False)
class Artifact:
    """One folder to be: what makes it, from what, and what that will cost."""

    stage: str
    label: str
    key: str
    spec: dict[str, Any]
    inputs: Inputs
    code: str
    source: dict[str, str]
    model: str = ""
    cost: Cost = field(default_factory=Cost)

    @property
    def name(self) -> str:
        """The folder's name: readable, then the key."""
        return f"{self.label}-{self.key}"

    def upstream(self) -> Iterator[Artifact]:
        """Yield the inputs one by one."""
        for given in self.inputs.values():
            yield from given if isinstance(given, list) else [given]


class Stages:
    """The stages as dvc.yaml declares them: order, edges, code."""

    def __init__(self, file: Path = DVC_FILE):
        stages = yaml.safe_load(file.read_text("utf-8"))["stages"]
        self.order = list(stages)
        self.edges = {name: _below_runs(stage) for name, stage in stages.items()}
        self.code_paths = {name: _code(stage) for name, stage in stages.items()}
        self._deps = {Path(str(dep)) for stage in stages.values() for dep in stage.get("deps", [])}

    @cache  # noqa: B019 - lives as long as its process
    def reaches(self, stage: str, upstream: str) -> bool:
        """Return whether dvc.yaml lets `stage` depend on `upstream`, directly or through others."""
        return stage == upstream or any(self.reaches(u, upstream) for u in self.edges[stage])

    def modules(self, stage: str, kinds: frozenset[str]) -> list[Path]:
        """Return the files that make a stage; of a plug-in folder, only the kinds it names."""
        files: list[Path] = []
        for path in self.code_paths[stage]:
            if path.name in P.PLUG_IN_FOLDERS:
                named = (path / f"{kind.replace('-', '_')}.py" for kind in sorted(kinds))
                files += [file for file in named if file.is_file()]
            elif path.is_dir():
                files += [f for f in sorted(path.rglob("*")) if f.suffix in CODE_SUFFIXES]
            elif path.is_file():
                files.append(path)
            else:
                raise Fault(f"dvc.yaml: {stage} lists {path}, but there is no such file")
        return files

    def files(self) -> Iterator[Path]:
        """Yield every file of code and data that some stage lists; artifacts are none."""
        for path in self._deps:
            if path.parts[0] != store.RUNS.name:
                inside = (file for file in path.rglob("*") if "__pycache__" not in file.parts)
                yield from inside if path.is_dir() else [path]


def check_stages(asked: Iterable[str], known: Sequence[str]) -> None:
    """Raise Fault for a name that is no stage; it names the nearest, or all."""
    for stage in asked:
        if stage not in known:
            raise Fault(f"{stage}: no such stage{nearest(stage, list(known))}")


class Plan:
    """All artifacts that a parameter file asks for, by stage."""

    def __init__(self, params: P.Params, stages: Stages | None = None):
        self.params = params
        self.stages = stages or Stages()
        self.by_stage: dict[str, dict[str, Artifact]] = {name: {} for name in self.stages.order}
        self._codes: dict[tuple[str, frozenset[str]], str] = {}
        self._accepted = accepted()
        Layout(self).build()

    def add(
        self,
        stage: str,
        label: str,
        spec: dict[str, Any],
        inputs: Inputs | None = None,
        *,
        source: dict[str, str] | None = None,
        model: str = "",
        cost: Cost | None = None,
    ) -> Artifact:
        """Name, key and register one artifact; the same thing asked twice is one artifact."""
        inputs, source = inputs or {}, source or {}
        code = self.code(stage, spec)
        keys = {
            role: [a.key for a in given] if isinstance(given, list) else given.key
            for role, given in inputs.items()
        }
        key = digest([stage, spec, keys, source, code])
        cost = paced(stage, cost or Cost())
        artifact = Artifact(stage, label, key, spec, inputs, code, source, model=model, cost=cost)
        self._check_edges(artifact)
        return self.by_stage[stage].setdefault(artifact.name, artifact)

    @property
    def last(self) -> Artifact:
        """The report."""
        return next(iter(self.by_stage[self.stages.order[-1]].values()))

    @cache  # noqa: B019 - a plan lives as long as its process
    def index_key(self, stage: str) -> str:
        """Return the hash of a stage's members and of the indexes before it."""
        before = [self.index_key(upstream) for upstream in sorted(self.stages.edges[stage])]
        return digest([stage, sorted(self.by_stage[stage]), before])

    def code(self, stage: str, spec: dict[str, Any]) -> str:
        """Return the fingerprint that the code of an artifact counts as, accepted ones included."""
        own = self.own_code(stage, spec)
        return self._accepted.get(stage, {}).get(own, own)

    def own_code(self, stage: str, spec: dict[str, Any]) -> str:
        """Return the fingerprint of the code of an artifact, as it stands in src/."""
        kinds = frozenset(_kinds(spec, set()))
        known = (stage, kinds)
        if known not in self._codes:
            self._codes[known] = fingerprint(self.stages.modules(stage, kinds))
        return self._codes[known]

    def _check_edges(self, artifact: Artifact) -> None:
        for upstream in {a.stage for a in artifact.upstream()}:
            if not self.stages.reaches(artifact.stage, upstream):
                raise Fault(
                    f"dvc.yaml: {artifact.stage} needs runs/{upstream} ({artifact.label}), "
                    "but no dependency says so"
                )


def load(params_file: Path) -> Plan:
    """Read a parameter file and lay out all it asks for."""
    return Plan(P.load(params_file))


def accepted() -> dict[str, dict[str, str]]:
    """Return, by stage, which fingerprint of code counts as which (docs/decisions/accepted.md)."""
    if not ACCEPTED.exists():
        return {}
    content: dict[str, dict[str, str]] = yaml.safe_load(ACCEPTED.read_text("utf-8")) or {}
    return content


def _below_runs(stage: dict[str, Any]) -> set[str]:
    parts = [Path(str(dep)).parts for dep in stage.get("deps", [])]
    return {part[1] for part in parts if part[0] == store.RUNS.name}


def _code(stage: dict[str, Any]) -> list[Path]:
    return [Path(str(dep)) for dep in stage.get("deps", []) if str(dep).startswith("src/")]


def _kinds(spec: Any, found: set[str]) -> set[str]:
    """Add to `found` every plug-in that a spec names: values of `kind`, and the laws."""
    if isinstance(spec, dict):
        for key, value in spec.items():
            if key == "kind":
                found.add(value)
            elif key == "laws":
                found.update(value)
            elif isinstance(value, dict | list):
                _kinds(value, found)
    elif isinstance(spec, list):
        for item in spec:
            _kinds(item, found)
    return found
