"""The plan as Snakemake sees it: which artifacts are missing, in which batches, waiting for what.

Only the first process plans. The processes it starts, on this host or on a cluster, read what it
wrote down; so params.yaml may change, or break, while jobs wait.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from palimpsest import needs, publish, slurm, store
from palimpsest.faults import Fault
from palimpsest.fingerprint import digest
from palimpsest.plan import Artifact, Plan, load

START_UP_SECONDS = 8.0  # of a process that imports torch and transformers
Resource = Callable[[Any, int], needs.Value | None]
TORCH_STAGES = ("bases", "probes", "train", "recall", "evals")
UNLIMITED = sys.maxsize


@dataclass(frozen=True)
class Batch:
    """A few artifacts of one stage that one process builds."""

    stage: str
    name: str
    members: tuple[Artifact, ...]

    @property
    def marker(self) -> str:
        """The file that says that the batch is done."""
        return str(store.marker(self.stage, self.name))


class Schedule:
    """What to build for a plan, from what is on disk."""

    def __init__(self, plan: Plan, *, by: str | int = "cores", cores: int = 1, nodes: Any = None):
        self.plan, self.order = plan, plan.stages.order
        self._present = {stage: store.folders(stage) for stage in self.order}
        self._chains_per_batch, self._cores = _chains_per_batch(by), cores
        self._nodes = [] if nodes is None else needs.read_nodes(nodes)
        self._needed = self._closure([self.plan.last])
        self.batches = self._cut()
        self._by_name = {(batch.stage, batch.name): batch for batch in self.batches}
        self._batch_of = {member: batch for batch in self.batches for member in batch.members}

    # What is missing

    def wanted(self, stage: str) -> dict[str, Artifact]:
        """Return the artifacts of a stage that the params ask for, by name."""
        return self.plan.by_stage[stage]

    def missing(self, stage: str) -> list[Artifact]:
        """Return the wanted artifacts that are neither in runs/ nor in the attic."""
        return [a for a in self.wanted(stage).values() if self.is_missing(a)]

    def is_missing(self, artifact: Artifact) -> bool:
        """Return whether an artifact is neither in runs/ nor in the attic."""
        return artifact.name not in self._present[artifact.stage]

    def complete(self, stage: str) -> bool:
        """Return whether a stage stands as the params ask: members, index, and its results."""
        return not self.missing(stage) and all(Path(f).exists() for f in self.target(stage))

    def all_stands(self) -> bool:
        """Return whether `all` asks for nothing that is not there."""
        return not self._needed and all(Path(file).exists() for file in self.everything())

    def awaited(self, stages: Iterable[str] = ()) -> set[Artifact]:
        """Return what a run builds: what some stages lack, or all do, and what that needs."""
        ends, changing = list(stages) or self._changing(), self._changing()
        asked = {*ends, *(u for u in changing for s in ends if self.plan.stages.reaches(s, u))}
        return self._closure([a for stage in asked for a in self.missing(stage)])

    def _closure(self, ends: Iterable[Artifact]) -> set[Artifact]:
        """Return the missing artifacts that some need; what stands hides what it needed."""
        needed: set[Artifact] = set()
        open_ends = list(ends)
        while open_ends:
            artifact = open_ends.pop()
            if artifact not in needed and self.is_missing(artifact):
                needed.add(artifact)
                open_ends += artifact.upstream()
        return needed

    # Batches

    def _cut(self) -> list[Batch]:
        """Cut what is missing into batches; what the report does not need stays apart."""
        batches: list[Batch] = []
        for stage in self.order:
            missing = self.missing(stage)
            batches += self._batches(stage, [a for a in missing if a in self._needed])
            batches += self._batches(stage, [a for a in missing if a not in self._needed])
        return batches

    def _batches(self, stage: str, members: list[Artifact]) -> list[Batch]:
        chains: dict[Artifact, list[Artifact]] = {}
        for artifact in members:
            chains.setdefault(_root(artifact), []).append(artifact)
        bins = self._bins(stage, list(chains.values()))
        return [Batch(stage, _batch_name(stage, content), tuple(content)) for content in bins]

    def _bins(self, stage: str, chains: list[list[Artifact]]) -> list[list[Artifact]]:
        """Join whole chains: a batch that cut one could wait for a batch that waits for it."""
        if stage not in TORCH_STAGES:
            return [[a for chain in chains for a in chain]] if chains else []
        if self._chains_per_batch is None:
            return _balance(chains, self._cores)
        return _per_model(chains, self._chains_per_batch)

    # What the rules ask

    def target(self, stage: str) -> list[str]:
        """Return what `stage_<name>` asks for: its index, and whatever of it is missing."""
        files = [b.marker for b in self.batches if b.stage == stage]
        files += self.index_target(stage)
        return files + (self.results_target() if stage == self.order[-1] else [])

    def everything(self) -> list[str]:
        """Return what `all` asks for: the report, and the index of each stage that changes."""
        asked = [file for stage in self._changing() for file in self.index_target(stage)]
        return asked + self.results_target()

    def _changing(self) -> list[str]:
        """Return the stages that `all` asks for: needed by the report, or here at all.

        A stage that is not here and that nothing needs stays away: a partial pull is complete.
        """
        needed = {a.stage for a in self._needed} | {self.order[-1]}
        return [s for s in self.order if s in needed or (store.RUNS / s).is_dir()]

    def index_target(self, stage: str) -> list[str]:
        """Return the stage's index; and a tidying step if the index stands beside a surplus."""
        key = self.plan.index_key(stage)
        path = store.index(stage, key)
        surplus = self._surplus(stage) if path.exists() else []
        tidy = [str(store.marker("tidy", f"{stage}-{key}-{digest(surplus)}"))] if surplus else []
        return [str(path), *tidy]

    @property
    def results_key(self) -> str:
        """The key of the report that the params ask for."""
        return self.plan.index_key(self.order[-1])

    def results_target(self) -> list[str]:
        """Return the file that says that results/ holds this report."""
        return [str(store.results_key(self.results_key))]

    def results_inputs(self) -> list[str]:
        """Return the index of the report, from which results/ is copied."""
        return [str(store.index(self.order[-1], self.results_key))]

    def results_shown(self) -> list[tuple[str, str, str, str]]:
        """Return what of results/ Snakemake's own report shows: file, caption, category, name."""
        key_file = store.results_key(self.results_key)
        return publish.shown(key_file.parent) if key_file.exists() else []

    def batch_inputs(self, stage: str, name: str) -> list[str]:
        """Return the markers of the batches that a batch waits for."""
        batch = self._by_name[stage, name]
        inputs = {a for member in batch.members for a in member.upstream() if self.is_missing(a)}
        upstream = {self._batch_of[artifact] for artifact in inputs}
        return sorted(b.marker for b in upstream if b is not batch)

    def resources(self, stage: str) -> dict[str, Resource]:
        """Return what the jobs of a stage ask for; partition and GPUs only on a cluster."""
        names = needs.GROWS + (needs.FIXED if self._nodes and stage in TORCH_STAGES else ())
        return _resources(names, lambda name: self._needs(self._by_name[stage, name]))

    def _needs(self, batch: Batch) -> dict[str, needs.Value]:
        return needs.needs(batch.members, self._nodes, torch=batch.stage in TORCH_STAGES)

    def index_inputs(self, stage: str) -> list[str]:
        """Return what the index of a stage waits for: its batches and the indexes before it."""
        if store.index(stage, self.plan.index_key(stage)).exists() and not self.missing(stage):
            return []
        edges = sorted(self.plan.stages.edges[stage])
        changing = {a.stage for a in self._needed}
        before = [u for u in edges if u in changing or (store.RUNS / u).is_dir()]
        indexes = [str(store.index(u, self.plan.index_key(u))) for u in before]
        return indexes + sorted(b.marker for b in self.batches if b.stage == stage)

    def _surplus(self, stage: str) -> list[str]:
        """Return what an orphaned job left in runs/ after the index was written."""
        known = {*self.plan.by_stage[stage], f"index-{self.plan.index_key(stage)}.json"}
        return sorted({entry.name for entry in os.scandir(store.RUNS / stage)} - known)

    # Before the first job

    def begin(self) -> None:
        """Take ownership of the folder and write down every batch and index step.

        Raises Fault if a cluster still works for a controller that was killed here.
        """
        self._owner = own(wait=True)
        if self._nodes:
            slurm.refuse_orphans()
        for batch in self.batches:
            members = [order(member) for member in batch.members]
            waits = self.batch_inputs(batch.stage, batch.name)
            content = {"inputs": waits, "members": members, "resources": self._needs(batch)}
            store.write_json(store.batch(batch.stage, batch.name), content)
        for stage in self.order:
            key = self.plan.index_key(stage)
            wanted = {
                "inputs": self.index_inputs(stage),
                "wanted": sorted(self.plan.by_stage[stage]),
            }
            store.write_json(store.index_order(stage, key), wanted)


class Written:
    """The schedule as a spawned process sees it: what the first process wrote down."""

    order: tuple[str, ...] = ()
    results_key = ""

    def everything(self) -> list[str]:
        """Return nothing: a spawned process is told its one job."""
        return []

    results_target = results_inputs = results_shown = everything

    def batch_inputs(self, stage: str, name: str) -> list[str]:
        """Return the markers that a batch waits for."""
        return list(store.read_json(store.batch(stage, name))["inputs"])

    def resources(self, stage: str) -> dict[str, Resource]:
        """Return what the one job was given."""
        return _resources(
            needs.GROWS + needs.FIXED,
            lambda name: store.read_json(store.batch(stage, name))["resources"],
        )


def use_source(folder: str) -> None:
    """Make this process and the workers that it starts use the code in `folder`.

    Raises Fault if palimpsest was imported from elsewhere, as an editable install would have it.
    """
    actual = Path(__file__).resolve().parent.parent
    if actual != Path(folder).resolve():
        raise Fault(
            f"palimpsest was imported from {actual}, not from {folder}; "
            "activate the environment that `make setup` made in this clone"
        )
    os.environ["PYTHONPATH"] = folder


def schedule(params_file: str, *, by: str | int, cores: int, nodes: Any = None) -> Schedule:
    """Read the params and return what to build; `nodes` are the profile's lines of a cluster."""
    return Schedule(load(Path(params_file)), by=by, cores=cores, nodes=nodes)


def own(*, wait: bool) -> IO[str]:
    """Lock the working folder for one planner; the kernel frees it when the process dies.

    With wait=False raises Fault if another process holds it.
    """
    store.WORK.mkdir(exist_ok=True)
    file = (store.WORK / "owner").open("a+")
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            if not wait:
                raise Fault(f"process {holder} works in this folder; wait for it to end") from None
            print(f"waiting for process {holder}, which works in this folder", file=sys.stderr)
            _wait_for(file)
        except OSError as error:
            raise Fault(
                f"{store.WORK}: this file system has no locks ({error.strerror}), so two planners "
                "could disturb each other; put the project on one that has them"
            ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _wait_for(file: IO[str], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(file, fcntl.LOCK_UN)
            return
        except BlockingIOError:
            time.sleep(0.5)


def order(artifact: Artifact) -> dict[str, Any]:
    """Return what a job needs to know about one artifact."""
    inputs = {
        role: [[a.stage, a.name] for a in given]
        if isinstance(given, list)
        else [given.stage, given.name]
        for role, given in artifact.inputs.items()
    }
    return {
        "name": artifact.name,
        "key": artifact.key,
        "spec": artifact.spec,
        "inputs": inputs,
        "code": artifact.code,
        "source": artifact.source,
        "cost_seconds": artifact.cost.seconds,
    }


def _root(artifact: Artifact) -> Artifact:
    """Return the first artifact of its stage in the chain that leads to this one."""
    while before := [a for a in artifact.upstream() if a.stage == artifact.stage]:
        artifact = before[0]
    return artifact


def _chains_per_batch(by: str | int) -> int | None:
    """Return how many chains of one model share a process; None: as the cores ask."""
    known = {"cores": None, "model": UNLIMITED, "run": 1}
    if by in known:
        return known[by]
    if isinstance(by, int) and by > 0:
        return by
    raise Fault(f"profile: batches={by!r} is unknown; known: {', '.join(known)}, or a number")


def _per_model(chains: list[list[Artifact]], most: int) -> list[list[Artifact]]:
    """Join chains of the same model, at most so many."""
    models: dict[str, list[list[Artifact]]] = {}
    for chain in chains:
        models.setdefault(chain[0].model, []).append(chain)
    return [
        [artifact for chain in members[first : first + most] for artifact in chain]
        for members in models.values()
        for first in range(0, len(members), most)
    ]


def _resources(
    names: tuple[str, ...], asked: Callable[[str], dict[str, needs.Value]]
) -> dict[str, Resource]:
    """Return for each resource the function that Snakemake calls with a job's wildcards."""

    def resource(name: str) -> Resource:
        return lambda wildcards, attempt: needs.at_attempt(asked(wildcards.batch), name, attempt)

    return {name: resource(name) for name in names}


def _balance(chains: list[list[Artifact]], n_bins: int) -> list[list[Artifact]]:
    """Spread chains over at most `n_bins` bins of about equal cost, the dearest chains first.

    One bin serves where a second process would cost more to start than it saves.
    """
    costs = {id(chain): sum(a.cost.seconds for a in chain) for chain in chains}
    n_bins = max(1, min(n_bins, len(chains), int(sum(costs.values()) / START_UP_SECONDS)))
    bins: list[list[Artifact]] = [[] for _ in range(n_bins)]
    loads = [0.0] * n_bins
    for chain in sorted(chains, key=lambda chain: -costs[id(chain)]):
        lightest = loads.index(min(loads))
        bins[lightest] += chain
        loads[lightest] += costs[id(chain)]
    return [content for content in bins if content]


def _batch_name(stage: str, members: Iterable[Artifact]) -> str:
    """Return the hash of the members; counted on when an earlier such batch is marked as done."""
    keys, attempt = sorted(member.key for member in members), 0
    while store.marker(stage, name := digest([keys, attempt])).exists():
        attempt += 1
    return name
