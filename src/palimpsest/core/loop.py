"""Batches of rows → trained weights and one log row per update: pretraining and phases alike.

An update: exact token-weighted gradient of the whole batch → clipping and direction u → the policy
chooses the rate η, where it likes by looking along u → θ ← θ − ηu → log row → stop rules.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from palimpsest.core.course import NAN, Course, Progress, Trainee
from palimpsest.core.losses import BatchGradient, Packed, batch_gradient, mean_loss
from palimpsest.core.policies.step import Step
from palimpsest.core.rows import Batch
from palimpsest.core.stops import Stops

if TYPE_CHECKING:
    from palimpsest.core.landscape import Line

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
        progress.step_seconds.append(time.perf_counter() - began)
        after_step()


def _take_step(trainee: Trainee, course: Course, progress: Progress, stops: Stops) -> bool:
    """Take one update and log it; False where the phase has ended before it and nothing moved."""
    batch = course.batch(progress.n_steps)
    gradient, packed = _gradient(trainee, batch)
    loss_nats = gradient.loss_new_nats if batch.new else gradient.loss_replay_nats
    u = trainee.update.direction()
    grad_norm = trainee.update.grad_norm
    progress.stop_reason = stops.before_step(loss_nats=loss_nats, grad_norm=grad_norm)
    if progress.stop_reason is not None:
        return False
    step = _step(trainee, course, progress, line=_line(trainee, course, u, gradient, packed))
    learning_rate = course.policy(course.policy_params, progress.policy, step)
    if math.isnan(learning_rate):
        progress.stop_reason = "no-rate"
        return False
    row = _look_along(trainee, course, step, u=u, learning_rate=learning_rate)
    row |= _move(trainee, course, u=u, learning_rate=learning_rate)
    row |= {"grad_norm": grad_norm, "loss_replay_nats": gradient.loss_replay_nats}
    row |= {"loss_new_nats": gradient.loss_new_nats, **_count(progress, batch, learning_rate)}
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
    the accelerator's memory is halved, for good.
    """
    longest = max(row.n_targets for row in (*batch.new, *batch.replay))
    while True:
        new, replay = trainee.pack(batch.new), trainee.pack(batch.replay)
        try:
            with trainee.training_numerics():
                gradient = batch_gradient(trainee.model, trainee.flat, new=new, replay=replay)
            return gradient, new or replay
        except torch.cuda.OutOfMemoryError:
            if trainee.max_tokens <= longest:
                raise
        trainee.max_tokens //= 2
        warnings.warn(f"out of memory: micro-batches of {trainee.max_tokens} tokens", stacklevel=2)
        torch.cuda.empty_cache()


def _line(
    trainee: Trainee, course: Course, u: Tensor, gradient: BatchGradient, packed: list[Packed]
) -> Line | None:
    """Return the loss along u on the new rows, on the replayed ones where there are no new."""
    if course.line is None:
        return None
    new_nats, replay_nats = gradient.loss_new_nats, gradient.loss_replay_nats
    loss_nats = replay_nats if math.isnan(new_nats) else new_nats
    if trainee.bf16:  # what a line compares is measured in one dtype
        loss_nats = mean_loss(trainee.model, packed)
    return course.line(
        trainee.model,
        trainee.flat,
        u,
        packed,
        loss_nats=loss_nats,
        gradient=gradient.new_gradient,
    )


def _step(trainee: Trainee, course: Course, progress: Progress, *, line: Any) -> Step:
    """Return what the policy sees; pretraining's schedule has no line to look along."""
    before = progress.log[-1]["mad_drift"] if progress.log else _drift(trainee, course)[0]
    return Step(
        index=course.n_steps_before + progress.n_steps,
        line=line,
        n_steps=course.n_steps_phase,
        steps_per_epoch=course.n_steps,
        probe=course.probe,
        mad_drift=float(before),
    )


def _look_along(
    trainee: Trainee, course: Course, step: Step, *, u: Tensor, learning_rate: float
) -> dict[str, float]:
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
        "slope": NAN if step.line is None else step.line.slope,
        "n_forward": 0 if step.line is None else step.line.forward_passes,
        "share_rounded_away": (
            trainee.flat.share_rounded_away(u, learning_rate) if rounded else NAN
        ),
    }


def _move(trainee: Trainee, course: Course, *, u: Tensor, learning_rate: float) -> dict[str, float]:
    """Take the step; return its length and the drift from θ₀ after it, in one transfer."""
    weights, anchor = trainee.flat.weights, course.anchor
    if anchor is None:
        trainee.flat.step(u, learning_rate)
        update_norm = torch.linalg.vector_norm(u) * learning_rate
    else:
        before = weights.clone()
        trainee.flat.step(u, learning_rate)
        anchor.pull(weights, learning_rate, scale=trainee.update.scale())
        update_norm = torch.linalg.vector_norm(before.sub_(weights))
    norms = (update_norm, *_drift(trainee, course))
    update_norm, mad, relative = torch.stack(norms).tolist()
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
    norm = torch.linalg.vector_norm
    return moved.abs().mean(), norm(moved) / norm(reference)


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
