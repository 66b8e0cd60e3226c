"""Turns weights, token files and a phase's setting into the weights after one more epoch of it.

Leaves checkpoints, one log row per update, and the loss of each piece just before and just after
its training. A phase that one of its stop rules has ended takes no further update. A phase of
another kind than training edits the weights, which is logged as one step that trains on nothing.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel

from palimpsest.core.artifacts import base_checkpoint, questions
from palimpsest.core.checkpoints import folder_name, steps_to_keep
from palimpsest.core.course import LOG_COLUMNS, NAN, Course, Progress, Trainee, restore, state
from palimpsest.core.ewc import Anchor
from palimpsest.core.flat import FlatWeights
from palimpsest.core.greedy import Question, share_correct
from palimpsest.core.landscape import Line
from palimpsest.core.live import Live, live_frame, pieces_frame
from palimpsest.core.loop import drift, train
from palimpsest.core.models import load_causal_lm, save_causal_lm
from palimpsest.core.plug_ins import plug_in
from palimpsest.core.resume import Saver
from palimpsest.core.speed import speed
from palimpsest.core.stops import Settings
from palimpsest.core.streams import Stream, make_stream
from palimpsest.faults import Fault
from palimpsest.progress import note, note_each, say, step_done

Spec = dict[str, Any]
Inputs = dict[str, Any]


class Before(NamedTuple):
    """What the epoch goes on from: weights and, after another epoch, its phase.json and state."""

    weights: Path
    phase: dict[str, Any]
    state: dict[str, Any]


def build(spec: Spec, inputs: Inputs, out: Path) -> None:
    """Train one epoch of one phase, or edit the weights once.

    spec: `phase` (kind, stream, replay_fraction, policy, optimizer, checkpoints, stop, …), `epoch`
    within the phase from 0, `epochs` (null unless the setting depends on the phase's length),
    `seed`, `base_step`; inputs: before (base or train), base, new, original and, where the phase
    asks for them, probe, questions, difficulty, replay_difficulty and fisher.
    """
    if spec["phase"]["kind"] == "train":
        _train(spec, inputs, out)
    else:
        _edit(spec, inputs, out)


def _train(spec: Spec, inputs: Inputs, out: Path) -> None:
    before = _before(inputs["before"], base_step=spec["base_step"])
    trainee = Trainee(load_causal_lm(before.weights), spec["phase"]["optimizer"])
    stream = stream_of(spec, inputs, config=trainee.model.config)
    course = _course(spec, inputs, trainee, stream)
    live, saver = Live(stream), Saver(out)
    saved = saver.load()
    progress = _start(spec, before, trainee) if saved is None else restore(saved, trainee)
    if saved is None:
        live.measure(trainee, progress)
    kept_as = {"dtype": "fp32", "moments": True} | spec["phase"]["checkpoints"]
    keep = steps_to_keep(kept_as, stream.n_steps)

    def after_step() -> None:
        live.measure(trainee, progress)
        if progress.n_steps in keep:
            last = progress.n_steps == stream.n_steps
            save_causal_lm(
                trainee.model,
                out / folder_name(progress.step),
                before.weights,
                dtype="fp32" if last else kept_as["dtype"],
            )
        step_done(progress.n_steps, stream.n_steps, "step")
        if saver.due():
            kept = [folder_name(step) for step in _kept(keep, progress)]
            saver.save(state(trainee, progress), folders=kept)

    _train_and_note_speed(trainee, course, progress, after_step=after_step)
    final = out / folder_name(progress.step)
    if not final.exists() or kept_as["dtype"] != "fp32":  # a rule may have ended it anywhere
        save_causal_lm(trainee.model, final, before.weights)
    torch.save(_state_after(trainee, progress, kept_as["moments"]), out / "state.pt")
    frames = {"live": live.frame(progress), "pieces": live.pieces(progress)}
    _write(out, progress, keep=_kept(keep, progress, ended=True), **frames)
    saver.remove()


def _edit(spec: Spec, inputs: Inputs, out: Path) -> None:
    """Change the weights without training; moments and counts go on as they were."""
    before = _before(inputs["before"], base_step=spec["base_step"])
    model, settings = load_causal_lm(before.weights), spec["phase"]
    chosen = plug_in("edits", settings["kind"], "phase")
    base = load_causal_lm(base_weights(inputs["base"], base_step=spec["base_step"]))
    flat, reference = FlatWeights(model), FlatWeights(base).weights
    edited = chosen.edit(flat.weights, reference, chosen.Settings(**settings))
    progress = Progress(**_totals(before.phase), n_steps=1, stop_reason="epochs")
    progress.log.append(_edit_row(progress, flat, edited, reference))
    flat.weights.copy_(edited)
    save_causal_lm(model, out / folder_name(progress.step), before.weights)
    shutil.copyfile(inputs["before"] / "state.pt", out / "state.pt")
    _write(out, progress, keep=[progress.step], live=live_frame([]), pieces=pieces_frame([]))


def _edit_row(
    progress: Progress, flat: FlatWeights, edited: Tensor, reference: Tensor
) -> dict[str, float]:
    """Return the log row of an edit: how far it moved the weights, and where they are now."""
    mad, relative = drift(edited, reference)
    return {
        "step": progress.step,
        "epoch": 0,
        "n_new_tokens": progress.n_new_tokens,
        "n_replay_tokens": progress.n_replay_tokens,
        "sum_learning_rate": progress.sum_learning_rate,
        "update_norm": float(torch.linalg.vector_norm(edited - flat.weights)),
        "mad_drift": float(mad),
        "relative_drift": float(relative),
        "n_forward": 0,
    }


def _before(folder: Path, *, base_step: int | str) -> Before:
    if (folder / "base.json").exists():
        return Before(base_weights(folder, base_step=base_step), {}, {})
    phase = json.loads((folder / "phase.json").read_text("utf-8"))
    return Before(
        weights=folder / phase["final"],
        phase=phase,
        state=torch.load(folder / "state.pt", weights_only=True),
    )


def base_weights(folder: Path, *, base_step: int | str) -> Path:
    """Return the folder of the weights that a run starts from."""
    return base_checkpoint(folder, base_step).folder


def stream_of(spec: Spec, inputs: Inputs, *, config: Any) -> Stream:
    """Return the batches of an epoch; config is that of a model that trains on them."""
    phase, epoch = spec["phase"], spec["epoch"]
    pairs = [(question.question_ids, question.answer_ids) for question in _questions(inputs)]
    return make_stream(
        phase["stream"],
        new=np.load(inputs["new"] / "train.npy", mmap_mode="r"),
        original=np.load(inputs["original"] / "train.npy", mmap_mode="r"),
        replay_fraction=phase["replay_fraction"],
        seed=spec["seed"],
        epoch=epoch,
        epochs=spec["epochs"],
        questions=pairs,
        end_token=config.eos_token_id,
        difficulty=_difficulty(inputs, "difficulty"),
        replay_difficulty=_difficulty(inputs, "replay_difficulty"),
        context_length=config.max_position_embeddings,
    )


def _difficulty(inputs: Inputs, role: str) -> np.ndarray | None:
    """Return the base's losses to order by, where the phase does."""
    if role not in inputs:
        return None
    losses: np.ndarray = pd.read_parquet(inputs[role] / "losses.parquet").loss_nats.to_numpy()
    return losses


def _questions(inputs: Inputs) -> list[Question]:
    return questions(inputs.get("questions"))


def _course(spec: Spec, inputs: Inputs, trainee: Trainee, stream: Stream) -> Course:
    phase = spec["phase"]
    chosen = plug_in("policies", phase["policy"]["kind"], "policy")
    weights = base_weights(inputs["base"], base_step=spec["base_step"])
    stops, epochs = _stop_settings(phase), spec["epochs"]
    reference = FlatWeights(load_causal_lm(weights)).weights
    return Course(
        batch=stream.batch,
        n_steps=stream.n_steps,
        policy=chosen.rate,
        policy_params=chosen.Params(**phase["policy"]),
        stops=stops,
        line=Line,
        n_steps_before=spec["epoch"] * stream.n_steps,
        n_steps_phase=epochs and epochs * stream.n_steps,
        probe=_probe(inputs),
        reference=reference,
        anchor=_anchor(phase, inputs, trainee.flat, reference),
        measure_edge_every=phase["measure_edge_every"],
        measure_decrease=phase["measure_decrease"],
        share_correct=_asker(
            stops, inputs, trainee.model, tokenizer_file=weights / "tokenizer.json"
        ),
    )


def _anchor(
    phase: dict[str, Any], inputs: Inputs, flat: FlatWeights, reference: Tensor
) -> Anchor | None:
    """Return what holds the weights to θ₀; nothing does at strength 0."""
    if phase["ewc"] is None or "fisher" not in inputs:
        return None
    named = load_file(inputs["fisher"] / "fisher.safetensors")
    if set(named) != {segment.name for segment in flat.segments}:
        raise Fault("ewc: the Fisher information is not of this model's weights")
    fisher = torch.cat([named[segment.name].flatten() for segment in flat.segments])
    strength = phase["ewc"]["strength"]
    return Anchor.of(reference, fisher.to(reference.device), strength=strength)


def _stop_settings(phase: dict[str, Any]) -> Settings:
    """Return the phase's rules; null leaves only the one for a loss that is not finite."""
    stop = phase["stop"]
    return Settings(diverged_patience=None) if stop is None else Settings(**stop)


def _probe(inputs: Inputs) -> dict[str, Any] | None:
    if "probe" not in inputs:
        return None
    probe: dict[str, Any] = json.loads((inputs["probe"] / "probe.json").read_text("utf-8"))
    return probe


def _asker(
    stops: Settings, inputs: Inputs, model: PreTrainedModel, *, tokenizer_file: Path
) -> Callable[[], float]:
    """Return what asks the model all questions and gives the share of exact answers."""
    if stops.accuracy is None:
        return lambda: NAN
    asked = _questions(inputs)
    if not asked:
        raise Fault("stop.accuracy: the phase has no questions to ask; give the run a file of them")
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    return lambda: share_correct(
        model, asked, decode=tokenizer.decode, end_token=model.config.eos_token_id
    )


def _start(spec: Spec, before: Before, trainee: Trainee) -> Progress:
    """Return the progress at the epoch's start; put the moments that are carried into place."""
    going_on = spec["epoch"] > 0
    if spec["phase"]["carry_optimizer"] and not before.state:
        raise Fault("carry_optimizer: the phase starts from a base, which has no moments to carry")
    if going_on or spec["phase"]["carry_optimizer"]:
        trainee.update.load(before.state["optimizer"])
    totals = _totals(before.phase)
    if not going_on:
        return Progress(**totals)
    memory = {name: json.loads(before.state[name]) for name in ("policy", "stops")}
    ended = before.phase["stop_reason"]
    if ended == "epochs":
        return Progress(**totals, **memory, epoch=spec["epoch"])
    say(f"the phase has ended ({ended}): epoch {spec['epoch']} takes no step")
    return Progress(**totals, **memory, epoch=spec["epoch"], stop_reason=ended)


def _totals(phase: dict[str, Any]) -> dict[str, Any]:
    """Return the run's counts so far; a base has none."""
    return {
        "first_step": phase.get("last_step", 0),
        "n_new_tokens": phase.get("n_new_tokens", 0),
        "n_replay_tokens": phase.get("n_replay_tokens", 0),
        "sum_learning_rate": phase.get("sum_learning_rate", 0.0),
    }


def _kept(keep: tuple[int, ...], progress: Progress, *, ended: bool = False) -> list[int]:
    """Return the steps, counted in the run, whose weights lie there by now."""
    last = {progress.step} if ended and progress.n_steps > 0 else set()
    taken = {progress.first_step + step for step in keep if step <= progress.n_steps}
    return sorted(taken | last)


def _train_and_note_speed(
    trainee: Trainee, course: Course, progress: Progress, *, after_step: Callable[[], None]
) -> None:
    """Record the speed, all measuring included."""
    began, n_before = time.perf_counter(), progress.n_new_tokens + progress.n_replay_tokens
    train(trainee, course, progress, after_step=after_step)
    n_tokens = progress.n_new_tokens + progress.n_replay_tokens - n_before
    note_each("step_seconds", progress.step_seconds)
    note(**speed(trainee, n_tokens=n_tokens, wall_seconds=time.perf_counter() - began))


def _state_after(trainee: Trainee, progress: Progress, moments: bool) -> dict[str, Any]:
    """Return what a following epoch, or a phase that carries the moments, goes on from."""
    memory = {name: json.dumps(getattr(progress, name)) for name in ("policy", "stops")}
    return {"optimizer": trainee.update.state(), **memory} if moments else memory


def _write(
    out: Path, progress: Progress, *, keep: list[int], live: pd.DataFrame, pieces: pd.DataFrame
) -> None:
    log = pd.DataFrame(progress.log, columns=list(LOG_COLUMNS))
    log.to_parquet(out / "log.parquet", index=False)
    live.to_parquet(out / "live.parquet", index=False)
    pieces.to_parquet(out / "pieces.parquet", index=False)
    phase = {
        "first_step": progress.first_step,
        "last_step": progress.step,
        "n_new_tokens": progress.n_new_tokens,
        "n_replay_tokens": progress.n_replay_tokens,
        "sum_learning_rate": progress.sum_learning_rate,
        "stop_reason": progress.stop_reason,
        "checkpoints": [{"step": step, "folder": folder_name(step)} for step in keep],
        "final": folder_name(progress.step),
        "n_forward": int(log.n_forward.sum()),
    }
    (out / "phase.json").write_text(json.dumps(phase, sort_keys=True, indent=1) + "\n", "utf-8")
