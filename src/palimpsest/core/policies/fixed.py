"""One learning rate for all updates."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from palimpsest.core.policies.step import Step

NEEDS_PROBE = False
NEEDS_LENGTH = False


class Params(BaseModel, extra="forbid", frozen=True):
    """`rate`: the learning rate."""

    kind: Literal["fixed"]
    rate: float = Field(gt=0, description="learning rate of every update")


def label(params: Params) -> str:
    """Name the policy in tables and figures."""
    return f"fixed {params.rate:.0e}"


def rate(params: Params, memory: dict[str, Any], step: Step) -> float:
    """Return the rate."""
    return params.rate
