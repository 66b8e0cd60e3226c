"""What a policy sees of an update before it chooses the rate, and what it tells the loop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

if TYPE_CHECKING:
    from palimpsest.core.landscape import Line
    from palimpsest.core.search import Found

# How often a policy searches: on every update, on each k-th, or at the start of each epoch.
Every = Literal["step", "epoch"] | Annotated[int, Field(gt=0)]


@dataclass
class Step:
    """One update: all before `asked` is for the policy to read, the rest for it to set.

    A policy returns the rate; NaN says that its phase has no rate at all and ends before this
    update (stop reason `no-rate`). Shares of a decrease are positive where the loss falls; they
    stay NaN on updates that the policy did not measure.
    """

    index: int
    """Updates of the phase before this one."""
    line: Line
    """The loss along this update's direction, on the new rows (pure replay: on the replayed)."""
    n_steps: int | None = None
    """Updates of the whole phase; only where NEEDS_LENGTH."""
    steps_per_epoch: int | None = None
    """Updates of one epoch."""
    probe: Mapping[str, Any] | None = None
    """probe.json; only where NEEDS_PROBE."""
    mad_drift: float = math.nan
    """Mean |θ − θ₀| before this update, θ₀ being the run's base."""

    asked: float = math.nan
    achieved: float = math.nan
    loss_after_nats: float = math.nan
    reached: bool = True

    def is_due(self, every: Every) -> bool:
        """Say whether a policy that searches so often searches on this update."""
        period = {"step": 1, "epoch": self.steps_per_epoch}.get(str(every), every)
        return isinstance(period, int) and self.index % period == 0

    def measured(self, found: Found, *, reference_loss: float) -> None:
        """Record what the step with the rate found does to the loss on this batch."""
        if found.learning_rate is not None:
            self.loss_after_nats = found.loss_nats
            self.achieved = (self.line.loss_nats - found.loss_nats) / reference_loss

    def measured_at(self, learning_rate: float) -> None:
        """Measure what a step with this rate does to the loss on this batch, as a share of it."""
        after = self.line.at(learning_rate) if learning_rate > 0 else self.line.loss_nats
        self.loss_after_nats = after
        self.achieved = 1 - after / self.line.loss_nats if math.isfinite(after) else math.nan


def how_often(every: Every) -> str:
    """Return the end of a label; on every update needs no word."""
    return {"step": "", "epoch": " per epoch"}.get(str(every), f" per {every} steps")


def probe_key(decrease: float) -> str:
    """Return a decrease's key among probe.json's `targets`."""
    return f"{decrease:g}"
