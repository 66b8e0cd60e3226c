"""Phases and runs → what training, probing and measuring them will cost; no key hangs on it."""

from __future__ import annotations

from typing import Any

from palimpsest import costs
from palimpsest import params as P
from palimpsest.costs import Cost
from palimpsest.experiments import Phase, Run
from palimpsest.shapes import Shape


def of_training(phase: Phase, shape: Shape | None, *, n_new_tokens: float) -> Cost:
    """Return the cost of one epoch of a phase, with the weights that it keeps."""
    new, replay = n_tokens(phase, n_new_tokens=n_new_tokens)
    look = costs.forward(shape, new, row=row_length(phase))
    looked = _looks(phase) * look.flops
    kept = _weights_kept(phase.checkpoints) * costs.weight_bytes(shape)
    return costs.plus(
        costs.training(shape, new + replay, row=row_length(phase)),
        Cost(n_bytes=kept, flops=looked, fp32_flops=looked),
    )


def of_probe(probe: dict[str, Any], shape: Shape | None, *, row: int) -> Cost:
    """Return the cost of a probe from its spec: forward passes over new, and original, text."""
    stream, n_points = probe["stream"], probe["rates"]["points"]
    batch_tokens = float(stream.get("batch_tokens") or stream.get("window") or 1024)
    n_forward = 14 + (3 * n_points if probe["landscape"] else 2)
    tokens = probe["batches"] * n_forward * batch_tokens
    if probe["landscape"]:
        tokens += probe["batches"] * n_points * probe["original_tokens"]
    return costs.forward(shape, tokens, row=row)


def of_recall(settings: P.Recall, run: Run, shape: Shape | None, *, n_new_tokens: float) -> Cost:
    """Return the cost of measuring a run's checkpoints."""
    n_checkpoints = 1 + sum(
        phase.epochs * (phase.checkpoints.count or 1) for phase in run.trainings
    )
    new = max(float(p.stream.get("n_new_tokens") or n_new_tokens) for p in run.trainings)
    pieces = new / settings.every
    held_out = 2 * settings.held_out_tokens + 4 * settings.drift_tokens
    row = shape.context_length if shape else 0
    return costs.forward(shape, n_checkpoints * (pieces + held_out), row=row)


def n_tokens(phase: Phase, *, n_new_tokens: float) -> tuple[float, float]:
    """Return how many new and replayed tokens one epoch of a phase will train on, about."""
    stream = phase.stream
    new = float(stream.get("n_new_tokens") or n_new_tokens) * stream["repeats"]
    if stream.get("order") == "cyclic":
        new *= stream["cycles"]
    if stream.get("part"):
        new *= stream["part"]["end"] - stream["part"]["start"]
    replay = phase.replay_fraction
    share = replay if isinstance(replay, float) else (replay.start + replay.end) / 2
    return (0.0, new) if share == 1 else (new, new * share / (1 - share))


def row_length(phase: Phase) -> int:
    """Return how many tokens attend to each other in training."""
    return int(phase.stream.get("window") or phase.stream.get("max_tokens") or 0) or int(
        phase.stream["sequence_length"]
    )


def n_earlier(checkpoints: P.Checkpoints) -> int:
    """Return how many checkpoints an epoch keeps before its last; one that ends early keeps fewer.

    Listed steps count whether or not the epoch reaches them.
    """
    return (checkpoints.count or len(checkpoints.steps or ()) + 1) - 1


def _looks(phase: Phase) -> float:
    """Return how many forward passes over the new rows come beside training.

    Each piece is measured before its first and after each update; a policy that searches takes
    about 1.6 a step.
    """
    return (
        1.0
        + 1.0 / phase.stream.get("repeats", 1)
        + 1.6 * (phase.policy["kind"] in ("follow", "best"))
    )


def _weights_kept(checkpoints: P.Checkpoints) -> float:
    """Return how many times the fp32 weights an epoch leaves: the last, moments, and others."""
    others = n_earlier(checkpoints) * (0.5 if checkpoints.dtype == "bf16" else 1.0)
    return 1.0 + 2.0 * checkpoints.moments + others
