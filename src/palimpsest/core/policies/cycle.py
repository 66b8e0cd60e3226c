"""A learning rate that goes up and down in a triangle (Smith 1506.01186)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from palimpsest.core.policies.step import Step

NEEDS_PROBE = False
NEEDS_LENGTH = False


class Params(BaseModel, extra="forbid", frozen=True):
    """`low` at update 0, `high` half a period later, `low` again after `period` updates."""

    kind: Literal["cycle"]
    low: float = Field(ge=0, description="learning rate where a period begins and ends")
    high: float = Field(gt=0, description="learning rate in the middle of a period")
    period: int = Field(ge=2, description="updates from low to low")


def label(params: Params) -> str:
    """Name the policy in tables and figures."""
    return f"cycle {params.low:g} to {params.high:g} per {params.period}"


def rate(params: Params, memory: dict[str, Any], step: Step) -> float:
    """Return the rate on the triangle."""
    share = (step.index % params.period) / params.period
    height = 1 - abs(1 - 2 * share)
    return params.low + height * (params.high - params.low)
