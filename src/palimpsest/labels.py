"""Runs and phases → the readable names that folders, tables and figures give them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from palimpsest import params as P
from palimpsest.core.plug_ins import plug_in
from palimpsest.core.streams.replay import Ramp
from palimpsest.experiments import Phase, Run

USUAL_ORDER = {"order": "time", "repeats": 1, "replay_order": "shuffled", "part": None}
OWN_COLUMNS = ("kind", "order", "repeats", "cycles")


def folder_label(run: Run, phase: Phase, epoch: int) -> str:
    """Return the readable part of a training artifact's name."""
    numbers = [value for value in phase.policy.values() if isinstance(value, float | int)]
    policy = phase.policy["kind"] + "".join(f"{number:g}" for number in numbers[:1])
    replay = phase.replay_fraction
    share = f"{replay:g}" if isinstance(replay, float) else f"{replay.start:g}to{replay.end:g}"
    stream = phase.stream["kind"] if phase.stream["kind"] != "chunks" else ""
    order = phase.stream.get("order", "time")
    parts = [run.model, policy, f"r{share}", stream, order if order != "time" else ""]
    if phase.stream.get("repeats", 1) > 1:
        parts.append(f"x{phase.stream['repeats']}")
    return "_".join([part for part in parts if part] + [f"s{run.seed}", f"e{epoch + 1}"])


def setting_label(params: P.Params, run: Run) -> str:
    """Return policy and whatever else sets a run apart from the study's defaults.

    Replay, order, repeats and epochs of the last phase that trains have columns of their own in the
    tables; what went before it is named with all of these.
    """
    last = max(place for place, phase in enumerate(run.phases) if isinstance(phase, Phase))
    phase = run.trainings[-1]
    own = _own_settings(params, phase)
    own |= {"base step": run.base_step} if run.base_step != "final" else {}
    if isinstance(phase.replay_fraction, Ramp):
        own |= {"replay": _share(phase.replay_fraction)}
    if last > 0 and phase.carry_optimizer:
        own |= {"moments": "carried"}
    settings = [f"{name} {value}" for name, value in sorted(own.items()) if name not in OWN_COLUMNS]
    before = " then ".join(_phase_words(params, one) for one in run.phases[:last])
    edits = [edit_label(edit) for edit in run.phases[last + 1 :]]
    return ", ".join([_policy_label(phase), *settings, *([f"after {before}"] * bool(last)), *edits])


def _own_settings(params: P.Params, phase: Phase) -> dict[str, Any]:
    """Return what optimizer, stream and protection of a phase have that is not the usual."""
    optimizer = params.optimizer.model_dump() | params.phase.get("optimizer", {})
    own = dict(_differences(optimizer, phase.optimizer.model_dump()))
    if "kind" in own:
        own["optimizer"] = own.pop("kind")
    usual = _stream_defaults(phase) | USUAL_ORDER | params.phase.get("stream", {})
    own |= dict(_differences(usual, phase.stream))
    if own.get("part"):
        own["part"] = f"{100 * own['part']['start']:g} to {100 * own['part']['end']:g} %"
    if phase.ewc is not None:
        own["ewc"] = f"{phase.ewc.strength:g}"
    return own


def _phase_words(params: P.Params, phase: Phase | BaseModel) -> str:
    """Name a phase that is not the last one of its run, without commas."""
    if not isinstance(phase, Phase):
        return edit_label(phase)
    own = _own_settings(params, phase)
    words = [_policy_label(phase)]
    words += [f"{_share(phase.replay_fraction)} replay"] if phase.replay_fraction != 0 else []
    words += [f"{phase.epochs} epochs"] if phase.epochs > 1 else []
    return " + ".join([*words, *(f"{name} {value}" for name, value in sorted(own.items()))])


def _share(replay: float | Ramp) -> str:
    return f"{replay.start:g} to {replay.end:g}" if isinstance(replay, Ramp) else f"{replay:g}"


def method(run: Run) -> dict[str, Any]:
    """Return in a word what keeps old text, besides mixing it in, and how strongly."""
    last = run.phases[-1]
    if not isinstance(last, Phase):
        settings = last.model_dump(mode="json")
        kind = settings.pop("kind")
        return {"method": kind, "method_strength": next(iter(settings.values()))}
    if last.ewc is not None:
        return {"method": "ewc", "method_strength": last.ewc.strength}
    if len(run.phases) > 1 and last.replay_fraction == 1:
        return {"method": "consolidation", "method_strength": None}
    return {"method": "plain", "method_strength": None}


def edit_label(phase: BaseModel) -> str:
    """Name an edit as its plug-in does."""
    module = plug_in("edits", phase.model_dump()["kind"], "phase")
    return str(module.label(phase))


def _policy_label(phase: Phase) -> str:
    """Name the policy as its plug-in does, without commas, which part it from other settings."""
    module = plug_in("policies", phase.policy["kind"], "policy")
    return str(module.label(module.Params(**phase.policy))).replace(", ", "; ")


def _stream_defaults(phase: Phase) -> dict[str, Any]:
    fields = plug_in("streams", phase.stream["kind"], "stream").Settings.model_fields
    return {name: field.default for name, field in fields.items() if not field.is_required()}


def _differences(usual: dict[str, Any], own: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from ((name, value) for name, value in own.items() if usual.get(name) != value)
