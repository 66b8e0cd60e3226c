"""What a phase measures as it trains → whether it ends here, and by which rule.

The rules, by the name that is recorded: `diverged`, `accuracy`, `no-descent`, `steps`. A phase that
none of them ends runs through its epochs, which is recorded as `epochs`; one whose policy has no
rate to offer never begins: `no-rate`. An ended phase is a result.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

StopReason = Literal["diverged", "accuracy", "no-descent", "steps", "epochs", "no-rate"]


class Settings(BaseModel):
    """When a phase ends early; null switches a rule off, but a loss that is not finite ends any."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    diverged_factor: float = Field(3.0, gt=1, description="this many times the phase's first loss")
    diverged_patience: int | None = Field(5, gt=0, description="... for this many steps in a row")
    no_descent_patience: int | None = Field(
        None, gt=0, description="probes in a row that miss the asked decrease"
    )
    accuracy: float | None = Field(
        None, ge=0, lt=1, description="more than this share of the questions answered exactly"
    )
    accuracy_every: int = Field(10, gt=0, description="steps between two looks at the questions")
    steps: int | None = Field(None, gt=0, description="updates over all epochs of the phase")


class Stops:
    """Counts along a phase; `memory` is plain JSON, so that the count survives epochs and kills."""

    def __init__(self, settings: Settings, memory: dict[str, Any]) -> None:
        self.settings = settings
        self.memory = memory

    def before_step(self, *, loss_nats: float, grad_norm: float) -> StopReason | None:
        """End the phase before an update whose loss or gradient is not finite."""
        finite = math.isfinite(loss_nats) and math.isfinite(grad_norm)
        return None if finite else "diverged"

    def after_step(
        self, *, loss_nats: float, decrease_asked: float, reached: bool, share_correct: float
    ) -> StopReason | None:
        """Count one update; NaN stands for what this step did not ask or measure.

        loss_nats is the loss on the new data before the update (on the replay where there is none).
        """
        self.memory["n_steps"] = self.memory.get("n_steps", 0) + 1
        if self._diverged(loss_nats):
            return "diverged"
        if self._no_descent(decrease_asked, reached=reached):
            return "no-descent"
        threshold = self.settings.accuracy
        if threshold is not None and share_correct > threshold:
            return "accuracy"
        if self.settings.steps is not None and self.memory["n_steps"] >= self.settings.steps:
            return "steps"
        return None

    def asks_questions(self) -> bool:
        """Say whether the questions are due after the update that is just being taken."""
        n_steps = self.memory.get("n_steps", 0) + 1
        return self.settings.accuracy is not None and n_steps % self.settings.accuracy_every == 0

    def _diverged(self, loss_nats: float) -> bool:
        start_nats = self.memory.setdefault("start_loss_nats", loss_nats)
        patience = self.settings.diverged_patience
        if patience is None:
            return False
        above = loss_nats > self.settings.diverged_factor * start_nats
        return self._in_a_row("n_above", above) >= patience

    def _no_descent(self, decrease_asked: float, *, reached: bool) -> bool:
        patience = self.settings.no_descent_patience
        if patience is None or math.isnan(decrease_asked):
            return False
        return self._in_a_row("n_missed", not reached) >= patience

    def _in_a_row(self, name: str, happened: bool) -> int:
        self.memory[name] = self.memory.get(name, 0) + 1 if happened else 0
        return int(self.memory[name])
