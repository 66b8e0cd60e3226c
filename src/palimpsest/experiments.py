"""Experiments of params.yaml → runs: a list is an axis, a run is a base and a chain of phases."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field

from palimpsest import params as P
from palimpsest.core.plug_ins import kinds, nearest, plug_in
from palimpsest.core.stops import Settings as Stop
from palimpsest.core.streams.replay import Ramp
from palimpsest.core.validation import parse
from palimpsest.faults import Fault
from palimpsest.shapes import PYTHIA

NOT_AN_AXIS = {("checkpoints", "steps")}  # fields that are lists by nature
Parsed = dict[str, BaseModel]  # phases by what is asked of them: equal ones are checked once
UNKNOWN = "unknown"  # a setting of an earlier run that is not recorded
OF_THE_RUN = ("model", "seed", "base_step", "phases")


class Ewc(P.Closed):
    """Elastic weight consolidation: weights on which old text hangs are pulled back to θ₀."""

    strength: float = Field(ge=0, le=1e30, description="weight of the penalty; 0 is plain training")
    fisher_tokens: int = Field(
        16384, gt=0, description="tokens of the original domain behind the Fisher information"
    )


class Phase(P.Closed):
    """One stretch of training with one setting. `stream` and `policy` belong to their plug-ins."""

    kind: Literal["train"] = Field("train", description="other kinds edit the weights, see below")
    stream: dict[str, Any]
    policy: dict[str, Any]
    replay_fraction: P.Share | Ramp = Field(
        0.0, description="share of all training tokens that come from the original domain"
    )
    epochs: int = Field(1, gt=0, description="times through the stream")
    optimizer: P.Optimizer
    ewc: Ewc | None = Field(None, description="hold to θ₀ what old text hangs on; null: do not")
    carry_optimizer: bool = Field(False, description="keep the moments of the phase before")
    checkpoints: P.Checkpoints = P.Checkpoints()
    stop: Stop | None = Field(Stop(), description="rules that end the phase early; null: none")
    measure_edge_every: int = Field(0, ge=0, description="steps between edge searches; 0: none")
    measure_decrease: bool = Field(
        False, description="measure the new loss after every step too: one forward pass more"
    )
    probe_replay: P.Share | None = Field(
        None, description="replay ratio of the probe; null: the run's own (0 at pure replay)"
    )


@dataclass(frozen=True)
class Run:
    """A base and the phases that follow it: trainings, and edits that belong to their plug-ins."""

    experiment: str
    model: str
    seed: int
    base_step: int | Literal["final"]
    phases: tuple[Phase | BaseModel, ...]

    @property
    def trainings(self) -> list[Phase]:
        """The phases that train; the last one is what tables call the run's setting."""
        return [phase for phase in self.phases if isinstance(phase, Phase)]


def runs(params: P.Params) -> Iterator[Run]:
    """Yield the product of each experiment's axes, in the order in which they are written.

    Runs of which a setting is unknown are left out; `unknown` names them. Raises Fault where an
    experiment names a model that there is not, or its phase is malformed.
    """
    parsed: Parsed = {}
    for name, experiment in params.experiments.items():
        where = f"experiments.{name}"
        points = _points(experiment)
        if not points:
            raise Fault(f"{where}: one of its lists is empty, so it has no runs")
        for point in points:
            if any(_unknown(point)):
                continue
            yield _run(params, point=point, where=where, parsed=parsed)


def unknown(params: P.Params) -> dict[str, list[str]]:
    """Return, by experiment, which settings are unknown, so that their runs cannot be made."""
    found = {name: list(_unknown(content)) for name, content in params.experiments.items()}
    return {name: places for name, places in found.items() if places}


def _unknown(node: Any, place: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _unknown(value, f"{place}.{key}" if place else str(key))
    elif isinstance(node, list):
        for value in node:
            yield from _unknown(value, place)
    elif node == UNKNOWN:
        yield place


def _run(params: P.Params, *, point: dict[str, Any], where: str, parsed: Parsed) -> Run:
    own = {key: value for key, value in point.items() if key not in OF_THE_RUN}
    for key in own.keys() - Phase.model_fields.keys():
        places = [*OF_THE_RUN, *Phase.model_fields]
        raise Fault(f"{where}.{key}: unknown key{nearest(key, places)}")
    phases = point.get("phases", [own])
    if not isinstance(phases, list) or not phases or not all(isinstance(p, dict) for p in phases):
        raise Fault(f"{where}.phases: expected a list of mappings, got {phases!r}")
    if "phases" in point and own:
        raise Fault(f"{where}.{next(iter(own))}: with phases:, put it into one of them")
    model = point.get("model")
    if not isinstance(model, str) or not _is_known(params.models, model):
        known = [*params.models.sizes, *params.models.hub, *PYTHIA]
        raise Fault(f"{where}.model: no model {model!r}{nearest(str(model), known)}")
    return Run(
        experiment=where.removeprefix("experiments."),
        model=model,
        seed=_seed(point.get("seed", 0), where),
        base_step=_base_step(point.get("base_step", "final"), where),
        phases=tuple(_phase(params, phase, where=where, parsed=parsed) for phase in phases),
    )


def _is_known(models: P.Models, name: str) -> bool:
    return name in models.sizes or models.published(name) is not None


def _seed(seed: Any, where: str) -> int:
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**31:
        raise Fault(f"{where}.seed: expected a whole number from 0 to 2^31 - 1, got {seed!r}")
    return seed


def _base_step(step: Any, where: str) -> int | Literal["final"]:
    if step == "final" or (isinstance(step, int) and not isinstance(step, bool) and step > 0):
        return step
    raise Fault(f"{where}.base_step: expected final or a whole number from 1, got {step!r}")


def _phase(
    params: P.Params, own: dict[str, Any], *, where: str, parsed: Parsed
) -> Phase | BaseModel:
    known_kinds = ["train", *kinds("edits")]
    if own.get("kind", "train") not in known_kinds:
        nearest_kind = nearest(str(own["kind"]), known_kinds)
        raise Fault(f"{where}.kind: {own['kind']!r} is unknown{nearest_kind}")
    if own.get("kind", "train") != "train":
        return parse(plug_in("edits", own["kind"], where).Settings, own, where)
    defaults = {"optimizer": params.optimizer.model_dump(), **params.phase}
    values = _merge(defaults, own)
    known = repr(values)
    if known not in parsed:
        try:
            for name, package in (("stream", "streams"), ("policy", "policies")):
                values[name] = _plug_in(package, values.get(name), f"{where}.{name}")
            parsed[known] = parse(Phase, values, where)
        except Fault as fault:
            lines = str(fault).splitlines()
            told = (_where_it_stands(line, where, own, params.phase) for line in lines)
            raise Fault("\n".join(told)) from None
    return parsed[known]


def set_at(params: P.Params, experiment: str, place: str) -> str:
    """Return where params.yaml sets a field of an experiment's phases: there, or in `phase`."""
    return _set_at(place, f"experiments.{experiment}", params.experiments[experiment], params.phase)


def _where_it_stands(line: str, where: str, own: Any, defaults: Any) -> str:
    """Name `phase` in a fault of a field that an experiment takes from there."""
    place, colon, said = line.removeprefix(f"{where}.").partition(":")
    return _set_at(place, where, own, defaults, missing=said.startswith(" missing")) + colon + said


def _set_at(place: str, where: str, own: Any, defaults: Any, *, missing: bool = False) -> str:
    """Return where a field is set; of a missing one, where the mapping is that lacks it."""
    parts = place.split(".")[: -1 if missing else None]
    inherited = _holds(defaults, parts) and not _holds(own, parts)
    return f"phase.{place}" if inherited and parts else f"{where}.{place}"


def _holds(node: Any, parts: list[str]) -> bool:
    """Return whether a field is set below a node; in lists, and in phases, some item may do so."""
    if isinstance(node, list):
        return any(_holds(item, parts) for item in node)
    if not isinstance(node, dict) or not parts:
        return not parts
    inside = [node[parts[0]]] if parts[0] in node else []
    return any(_holds(item, parts[1:]) for item in inside) or _holds(node.get("phases", []), parts)


def _plug_in(package: str, values: Any, where: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise Fault(f"{where}: expected a mapping with kind:, got {values!r}")
    module = plug_in(package, values.get("kind"), where)
    model: type[BaseModel] = module.Settings if package == "streams" else module.Params
    return parse(model, values, where).model_dump(mode="json")


def _points(node: Any, place: tuple[str, ...] = ()) -> list[Any]:
    """Return the product of all lists below a node; a chain of phases is no axis."""
    if isinstance(node, dict):
        axes = [_points(value, (*place, key)) for key, value in node.items()]
        return [dict(zip(node, values, strict=True)) for values in itertools.product(*axes)]
    if not isinstance(node, list) or place[-2:] in NOT_AN_AXIS:
        return [node]
    if place == ("phases",):
        return [list(chain) for chain in itertools.product(*(_points(p, place) for p in node))]
    return [point for value in node for point in _points(value, place)]


def _merge(defaults: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Lay an experiment's values over the defaults; another `kind` replaces a whole mapping."""
    merged = dict(defaults)
    for key, value in own.items():
        under = merged.get(key)
        if isinstance(value, dict) and isinstance(under, dict):
            kind = value.get("kind", under.get("kind"))
            merged[key] = _merge(under, value) if kind == under.get("kind") else value
        else:
            merged[key] = value
    return merged
