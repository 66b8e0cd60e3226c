"""A learning rate that climbs linearly to its value and stays there."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from palimpsest.core.policies.step import Step

NEEDS_PROBE = False
NEEDS_LENGTH = False


class Params(BaseModel, extra="forbid", frozen=True):
    """`start` at update 0, `learning_rate` from update `steps` on."""

    kind: Literal["warmup"]
    start: float = Field(ge=0, description="learning rate of the first update")
    learning_rate: float = Field(gt=0, description="learning rate after the climb")
    steps: int = Field(gt=0, description="updates of the climb")


def label(params: Params) -> str:
    """Name the policy in tables and figures."""
    return f"warmup {params.start:g} to {params.learning_rate:g} in {params.steps}"


def rate(params: Params, memory: dict[str, Any], step: Step) -> float:
    """Return the rate on the straight line from start to rate."""
    share = min(step.index / params.steps, 1.0)
    return params.start + share * (params.learning_rate - params.start)
