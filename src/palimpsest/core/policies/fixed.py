"""One learning rate for all updates."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from palimpsest.core.policies.step import Step

NEEDS_PROBE = False
NEEDS_LENGTH = False


class Params(BaseModel, extra="forbid", frozen=True):
    """`learning_rate`: the learning rate."""

    kind: Literal["fixed"]
    learning_rate: float = Field(gt=0, description="learning rate of every update")


def label(params: Params) -> str:
    """Name the policy in tables and figures."""
    return f"fixed {params.learning_rate:g}"


def rate(params: Params, memory: dict[str, Any], step: Step) -> float:
    """Return the rate."""
    return params.learning_rate
