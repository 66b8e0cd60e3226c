"""The learning rate searched again and again, so that a step lowers the new loss by a set share."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from palimpsest.core.policies.step import Every, Step, how_often

NEEDS_PROBE = False
NEEDS_LENGTH = False
BAND = 0.1  # the achieved decrease lies within ± 10 % of the asked one


class Params(BaseModel, extra="forbid", frozen=True):
    """`decrease` per searched step, the rate searched `every` step, k steps or epoch.

    `of`: a share of the batch's loss as it is now, or of the phase's first batch's.
    """

    kind: Literal["follow"]
    decrease: float = Field(gt=0, lt=1, description="share by which one step lowers the loss")
    every: Every = "step"
    of: Literal["current", "initial"] = "current"


def label(params: Params) -> str:
    """Name the policy in tables and figures."""
    of = " of initial" if params.of == "initial" else ""
    return f"follow {100 * params.decrease:g} %{of}{how_often(params.every)}"


def rate(params: Params, memory: dict[str, Any], step: Step) -> float:
    """Return the rate with the asked decrease; out of reach: the best rate, at no descent 0."""
    initial_nats = memory.setdefault("initial_loss_nats", step.line.loss_nats)
    if "rate" in memory and not step.is_due(params.every):
        return float(memory["rate"])
    reference = initial_nats if params.of == "initial" else step.line.loss_nats
    start = memory.get("rate") or None
    found = step.line.target(params.decrease, start=start, reference_loss=reference, band=BAND)
    step.asked, step.reached = params.decrease, found.learning_rate is not None
    if not step.reached:
        found = step.line.best(tolerance=BAND / 2)
    step.measured(found, reference_loss=reference)
    memory["rate"] = found.learning_rate or 0.0
    return float(memory["rate"])
