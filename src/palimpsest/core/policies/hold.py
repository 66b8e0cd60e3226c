"""The probe's learning rate for a one-step decrease at θ₀, kept for all updates."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, Field

from palimpsest.core.policies.step import Step, probe_key
from palimpsest.faults import Fault

NEEDS_PROBE = True
NEEDS_LENGTH = False


class Params(BaseModel, extra="forbid", frozen=True):
    """`decrease`: share of the loss that one step takes off at θ₀; negative: adds."""

    kind: Literal["hold"]
    decrease: float = Field(lt=1, description="share by which one step lowers the loss at θ₀")


def label(params: Params) -> str:
    """Name the policy in tables and figures."""
    return f"hold {100 * params.decrease:g} %"


def rate(params: Params, memory: dict[str, Any], step: Step) -> float:
    """Return the probe's median, NaN where most of its batches had no such rate."""
    targets = (step.probe or {}).get("targets", {})
    key = probe_key(params.decrease)
    if key not in targets:
        raise Fault(f"policy hold: the probe has no decrease {key}; add it to its decreases")
    median = targets[key]["median"]
    return math.nan if median is None else float(median)
