"""Batches of rows → trained weights and one log row per update: pretraining and phases alike.

An update: exact token-weighted gradient of the whole batch → clipping and direction u → the policy
chooses the rate η, where it likes by looking along u → θ ← θ − ηu → log row → stop rules.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from palimpsest.core.course import NAN, Course, Progress, Trainee
from palimpsest.core.flat import slope
from palimpsest.core.losses import BatchGradient, Packed, batch_gradient
from palimpsest.core.policies.step import Step
from palimpsest.core.rows import Batch
from palimpsest.core.stops import Stops

ROUNDING_EVERY = 16  # updates between two measurements of what is rounded away


def train(
    trainee: Trainee, course: Course, progress: Progress, *, after_step: Callable[[], None]
) -> None:
    """Update the trainee until the stretch or the phase ends; `progress.stop_reason` says why.

    `after_step` is called after every update, when weights, moments and progress belong together.
    A loss or gradient that is not finite ends the phase before its update, and so does a policy
    that has no rate.
    """
    stops = Stops(course.stops, progress.stops)
    while progress.stop_reason is None:
        began = time.perf_counter()
        if not _take_step(trainee, course, progress, stops):
            return
        if progress.stop_reason is not None:
            progress.read({})
        progress.step_seconds.append(time.perf_counter() - began)
        after_step()


def _take_step(trainee: Trainee, course: Course, progress: Progress, stops: Stops) -> bool:
    """Take one update and log it; False where the phase has ended before it and nothing moved."""
    batch = course.batch(progress.n_steps)
    gradient, packed = _gradient(trainee, batch)
    u = trainee.update.direction()
    known = progress.read(_before_step(trainee, course, progress, u=u, gradient=gradient))
    loss_nats = known["loss_new_nats"] if batch.new else known["loss_replay_nats"]
    progress.stop_reason = stops.before_step(loss_nats=loss_nats, grad_norm=known["grad_norm"])
    if progress.stop_reason is not None:
        return False
    line = course.line and course.line(
        trainee.model,
        trainee.flat,
        u,
        packed,
        loss_nats=None if trainee.bf16 else loss_nats,  # a line compares losses of one dtype
        slope=known["slope"],
    )
    step = _step(course, progress, line=line, mad_drift=known.pop("mad_drift", None))
    learning_rate = course.policy(course.policy_params, progress.policy, step)
    if math.isnan(learning_rate):
        progress.stop_reason = "no-rate"
        return False
    row = _look_along(trainee, course, step, u=u, learning_rate=learning_rate)
    row |= _move(trainee, course, u=u, learning_rate=learning_rate)
    row |= known | _count(progress, batch, learning_rate)
    row["share_correct"] = course.share_correct() if stops.asks_questions() else NAN
    progress.log.append(row)
    progress.stop_reason = stops.after_step(
        loss_nats=loss_nats,
        decrease_asked=step.asked,
        reached=step.reached,
        share_correct=row["share_correct"],
    )
    if progress.stop_reason is None and progress.n_steps == course.n_steps:
        progress.stop_reason = "epochs"
    return True


def _gradient(trainee: Trainee, batch: Batch) -> tuple[BatchGradient, list[Packed]]:
    """Leave the batch's gradient in the trainee; return its losses and the rows a line measures.

    These are the new rows, in a pure-replay run the replayed. A micro-batch that does not fit into
    the accelerator's memory is halved, for good; one may be far smaller than was allowed.
    """
    longest = max(row.n_targets for row in (*batch.new, *batch.replay))
    while True:
        new, replay = trainee.pack(batch.new), trainee.pack(batch.replay)
        try:
            with trainee.training_numerics():
                gradient = batch_gradient(trainee.model, trainee.flat, new=new, replay=replay)
            return gradient, new or replay
        except torch.cuda.OutOfMemoryError:
            largest = max(micro.inputs_BT.numel() for micro in (*new, *replay))
            too_many = min(trainee.max_tokens, largest)
            if too_many <= longest:
                raise
        trainee.max_tokens = too_many // 2
        warnings.warn(f"out of memory: micro-batches of {trainee.max_tokens} tokens", stacklevel=2)
        torch.cuda.empty_cache()


def _before_step(
    trainee: Trainee, course: Course, progress: Progress, *, u: Tensor, gradient: BatchGradient
) -> dict[str, Tensor]:
    """Return what the update hangs on and its log row says, all still on the device."""
    measured = {
        "loss_new_nats": gradient.loss_new_nats,
        "loss_replay_nats": gradient.loss_replay_nats,
        "grad_norm": trainee.update.grad_norm,
        "slope": u.new_tensor(NAN) if course.line is None else slope(gradient.new_gradient, u),
    }
    return measured if progress.log else measured | {"mad_drift": _drift(trainee, course)[0]}


def _step(course: Course, progress: Progress, *, line: Any, mad_drift: float | None) -> Step:
    """Return what the policy sees; pretraining's schedule has no line to look along."""
    return Step(
        index=course.n_steps_before + progress.n_steps,
        line=line,
        n_steps=course.n_steps_phase,
        steps_per_epoch=course.n_steps,
        probe=course.probe,
        mad_drift=progress.log[-1]["mad_drift"] if mad_drift is None else mad_drift,
    )


def _look_along(
    trainee: Trainee, course: Course, step: Step, *, u: Tensor, learning_rate: float
) -> dict[str, Any]:
    """Return what is measured along u before the update is taken."""
    edge = None
    if course.measure_edge_every and step.index % course.measure_edge_every == 0:
        edge = step.line.edge().learning_rate
    if course.measure_decrease and math.isnan(step.achieved):
        step.measured_at(learning_rate)
    rounded = step.index % ROUNDING_EVERY == 0
    return {
        "learning_rate": learning_rate,
        "decrease_asked": step.asked,
        "decrease_achieved": step.achieved,
        "loss_new_after_nats": step.loss_after_nats,
        "edge_learning_rate": NAN if edge is None else edge,
        "n_forward": 0 if step.line is None else step.line.forward_passes,
        "share_rounded_away": (
            trainee.flat.share_rounded_away(u, learning_rate) if rounded else NAN
        ),
    }


def _move(
    trainee: Trainee, course: Course, *, u: Tensor, learning_rate: float
) -> dict[str, Tensor]:
    """Take the step; return its length and the drift from θ₀ after it, still on the device."""
    weights, anchor = trainee.flat.weights, course.anchor
    if anchor is None:
        trainee.flat.step(u, learning_rate)
        update_norm = torch.linalg.vector_norm(u) * learning_rate
    else:
        before = weights.clone()
        trainee.flat.step(u, learning_rate)
        anchor.pull(weights, learning_rate, scale=trainee.update.scale())
        update_norm = torch.linalg.vector_norm(before.sub_(weights))
    mad, relative = _drift(trainee, course)
    return {"update_norm": update_norm, "mad_drift": mad, "relative_drift": relative}


def _drift(trainee: Trainee, course: Course) -> tuple[Tensor, Tensor]:
    """Return the drift of a trainee; NaN where the course has no θ₀."""
    weights, reference = trainee.flat.weights, course.reference
    if reference is None:
        return weights.new_tensor(NAN), weights.new_tensor(NAN)
    return drift(weights, reference)


def drift(weights: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean |θ − θ₀| and ‖θ − θ₀‖/‖θ₀‖."""
    moved = weights - reference
    relative = torch.linalg.vector_norm(moved) / torch.linalg.vector_norm(reference)
    return moved.abs_().mean(), relative


def _count(progress: Progress, batch: Batch, learning_rate: float) -> dict[str, float]:
    """Count the update just taken and return the run's totals."""
    progress.n_steps += 1
    progress.n_new_tokens += batch.n_new_tokens
    progress.n_replay_tokens += batch.n_replay_tokens
    progress.sum_learning_rate += learning_rate
    return {
        "step": progress.step,
        "epoch": progress.epoch,
        "n_new_tokens": progress.n_new_tokens,
        "n_replay_tokens": progress.n_replay_tokens,
        "sum_learning_rate": progress.sum_learning_rate,
    }
