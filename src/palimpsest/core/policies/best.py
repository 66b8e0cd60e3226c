"""The learning rate that lowers the new loss the most, searched again and again."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from palimpsest.core.policies.step import Every, Step, how_often

NEEDS_PROBE = False
NEEDS_LENGTH = False
TOLERANCE = 0.05  # of the rate: the decrease there is within 0.3 % of the largest on a parabola


class Params(BaseModel, extra="forbid", frozen=True):
    """The rate is searched `every` step, k steps or epoch."""

    kind: Literal["best"]
    every: Every = "step"


def label(params: Params) -> str:
    """Name the policy in tables and figures."""
    return f"best{how_often(params.every)}"


def rate(params: Params, memory: dict[str, Any], step: Step) -> float:
    """Return the best rate, 0 where no rate lowers the loss."""
    if "rate" in memory and not step.is_due(params.every):
        return float(memory["rate"])
    found = step.line.best(start=memory.get("rate") or None, tolerance=TOLERANCE)
    step.reached = found.learning_rate is not None
    step.measured(found, reference_loss=step.line.loss_nats)
    memory["rate"] = found.learning_rate or 0.0
    return float(memory["rate"])
