"""What a policy sees of an update before it chooses the rate, and what it tells the loop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palimpsest.core.landscape import Line
    from palimpsest.core.search import Found


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

    def measured(self, found: Found, *, reference_loss: float) -> None:
        """Record what the step with the rate found does to the loss on this batch."""
        if found.learning_rate is not None:
            self.loss_after_nats = found.loss_nats
            self.achieved = (self.line.loss_nats - found.loss_nats) / reference_loss
