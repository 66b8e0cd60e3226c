"""A learning rate driven by the drift: raised where drift stalls, lowered where it jumps."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import median
from typing import Any, Literal

from pydantic import BaseModel, Field

from palimpsest.core.policies.step import Step

NEEDS_PROBE = False
NEEDS_LENGTH = False


class Params(BaseModel, extra="forbid", frozen=True):
    """Multiply by `factor` where d ln MAD / d ln step < `level`; divide where drift jumps.

    After a change the next `window` updates are only watched.
    """

    kind: Literal["plateau"]
    start: float = Field(gt=0, description="learning rate of the first update")
    factor: float = Field(2.0, gt=1, description="what the learning rate is multiplied with")
    window: int = Field(20, ge=2, description="updates that the slope and the median look back")
    level: float = Field(
        0.5, description="d ln MAD / d ln step below which drift stalls; a random walk has 0.5"
    )
    jump: float = Field(
        4.0, gt=1, description="drift of one update, in medians, at which the rate is divided"
    )


def label(params: Params) -> str:
    """Name the policy in tables and figures."""
    return f"plateau from {params.start:g} by {params.factor:g}"


def rate(params: Params, memory: dict[str, Any], step: Step) -> float:
    """Return the rate, changed at most once per window; `mad` holds the window's MADs."""
    mad = [*memory.get("mad", []), step.mad_drift][-params.window - 1 :]
    learning_rate = memory.get("rate", params.start)
    if len(mad) > params.window:
        if _jumps(mad, params.jump):
            learning_rate, mad = learning_rate / params.factor, mad[-1:]
        elif _log_slope(mad, step.index) < params.level:
            learning_rate, mad = learning_rate * params.factor, mad[-1:]
    memory["mad"], memory["rate"] = mad, learning_rate
    return float(learning_rate)


def _jumps(mad: list[float], jump: float) -> bool:
    moved = [abs(after - before) for before, after in pairwise(mad)]
    return moved[-1] > jump * median(moved)


def _log_slope(mad: list[float], n_updates: int) -> float:
    """Return d ln MAD / d ln step between the window's ends; NaN from the base itself on."""
    first_step = n_updates - len(mad) + 1
    if first_step < 1 or mad[0] <= 0 or mad[-1] <= 0:
        return math.nan
    return math.log(mad[-1] / mad[0]) / math.log(n_updates / first_step)
