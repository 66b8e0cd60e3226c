"""A learning rate that climbs linearly, then falls along half a cosine to the end of the phase."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, Field

from palimpsest.core.policies.step import Step
from palimpsest.faults import Fault

NEEDS_PROBE = False
NEEDS_LENGTH = True


class Params(BaseModel, extra="forbid", frozen=True):
    """`learning_rate` at update `warmup`, `final` at the phase's last update."""

    kind: Literal["cosine"]
    learning_rate: float = Field(gt=0, description="highest learning rate")
    final: float = Field(0.0, ge=0, description="learning rate of the last update")
    warmup: int = Field(0, ge=0, description="updates of the climb from 0")


def label(params: Params) -> str:
    """Name the policy in tables and figures."""
    return f"cosine {params.learning_rate:g} to {params.final:g}"


def rate(params: Params, memory: dict[str, Any], step: Step) -> float:
    """Return the rate; the climb's first update has rate / (warmup + 1), not 0."""
    if step.n_steps is None:
        raise Fault("policy cosine: the phase's length is not known; give it epochs")
    if step.index < params.warmup:
        return params.learning_rate * (step.index + 1) / (params.warmup + 1)
    n_falling = max(step.n_steps - 1 - params.warmup, 1)
    share = min((step.index - params.warmup) / n_falling, 1.0)
    return (
        params.final + (params.learning_rate - params.final) * (1 + math.cos(math.pi * share)) / 2
    )
