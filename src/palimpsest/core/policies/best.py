"""The learning rate that lowers the new loss the most, searched again and again."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from palimpsest.core.policies.follow import is_due
from palimpsest.core.policies.step import Step

NEEDS_PROBE = False
NEEDS_LENGTH = False
TOLERANCE = 0.05  # of the rate: the decrease there is within 0.3 % of the largest on a parabola


class Params(BaseModel, extra="forbid", frozen=True):
    """The rate is searched `every` step, k steps or epoch."""

    kind: Literal["best"]
    every: Literal["step", "epoch"] | Annotated[int, Field(gt=0)] = "step"


def label(params: Params) -> str:
    """Name the policy in tables and figures."""
    often = {"step": "", "epoch": " per epoch"}.get(str(params.every), f" per {params.every} steps")
    return f"best{often}"


def rate(params: Params, memory: dict[str, Any], step: Step) -> float:
    """Return the best rate, 0 where no rate lowers the loss."""
    if not is_due(params.every, memory=memory, step=step):
        return float(memory["rate"])
    found = step.line.best(start=memory.get("rate") or None, tolerance=TOLERANCE)
    step.reached = found.learning_rate is not None
    step.measured(found, reference_loss=step.line.loss_nats)
    memory["rate"] = found.learning_rate or 0.0
    return float(memory["rate"])
