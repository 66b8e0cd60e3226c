"""What the training loop works on: who is trained, on which course, and how far it is.

Kept apart from the loop so that a training can be saved and resumed without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from palimpsest.core.flat import FlatWeights
from palimpsest.core.losses import Packed, pack, training_tokens
from palimpsest.core.policies.step import Step
from palimpsest.core.rows import Batch, Row
from palimpsest.core.stops import Settings, StopReason
from palimpsest.core.update import Update

if TYPE_CHECKING:
    from palimpsest.core.ewc import Anchor
    from palimpsest.core.landscape import Line

NAN = float("nan")
LOG_COLUMNS = (
    "step",
    "epoch",
    "learning_rate",
    "decrease_asked",
    "decrease_achieved",
    "loss_new_nats",
    "loss_replay_nats",
    "loss_new_after_nats",
    "grad_norm",
    "slope",
    "update_norm",
    "sum_learning_rate",
    "mad_drift",
    "relative_drift",
    "n_new_tokens",
    "n_replay_tokens",
    "share_rounded_away",
    "n_forward",
    "edge_learning_rate",
    "share_correct",
)


class Trainee:
    """A model on its way: its weights as one vector, and the optimiser that moves them."""

    def __init__(self, model: PreTrainedModel, optimizer: dict[str, Any]) -> None:
        self.model = model
        self.flat = FlatWeights(model)
        self.update = Update(self.flat, optimizer)
        self.max_tokens = training_tokens(model)
        self.bf16 = self.flat.weights.device.type == "cuda"

    def training_numerics(self) -> torch.autocast:
        """Return bf16 for matrix products in training, fp32 on CPUs; weights and u stay fp32.

        Losses that are measured are always fp32's.
        """
        device = self.flat.weights.device.type
        return torch.autocast(device, dtype=torch.bfloat16, enabled=self.bf16)

    def pack(self, rows: Sequence[Row], *, pieces: bool = False) -> list[Packed]:
        """Return rows as micro-batches on the model's device."""
        device = self.flat.weights.device
        return pack(rows, max_tokens=self.max_tokens, device=device, pieces=pieces)


@dataclass(frozen=True)
class Course:
    """How a stretch of updates goes: what it trains on, by which policy, when it ends.

    n_steps: updates of the stretch; n_steps_before and n_steps_phase place it in its phase (None:
    the policy may not know the length). line: makes the losses along u for the policies that look
    (None: there is none to look along). reference: flat θ₀ to measure drift against (None: no
    drift). anchor: pulls the weights back after each step (None: nothing does). share_correct:
    asks the model the questions.
    """

    batch: Callable[[int], Batch]
    n_steps: int
    policy: Callable[[Any, dict[str, Any], Step], float]
    policy_params: Any
    stops: Settings
    n_steps_before: int = 0
    n_steps_phase: int | None = None
    probe: dict[str, Any] | None = None
    line: Callable[..., Line] | None = None
    reference: Tensor | None = None
    anchor: Anchor | None = None
    measure_edge_every: int = 0
    measure_decrease: bool = False
    share_correct: Callable[[], float] = lambda: NAN


@dataclass
class Progress:
    """All that changes along a stretch besides weights and moments; plain JSON.

    n_steps counts the stretch's updates; first_step, tokens and rates count from the run's start.
    What is measured after an update stays on the device, as a tensor in the newest row of the log,
    until the next update's `read`.
    step_seconds is kept apart from the log, whose bytes are the same on every machine.
    """

    first_step: int = 0
    epoch: int = 0
    n_steps: int = 0
    n_new_tokens: int = 0
    n_replay_tokens: int = 0
    sum_learning_rate: float = 0.0
    stop_reason: StopReason | None = None
    policy: dict[str, Any] = field(default_factory=dict)
    stops: dict[str, Any] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    live: list[dict[str, Any]] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)

    @property
    def step(self) -> int:
        """Updates since the run's start."""
        return self.first_step + self.n_steps

    def read(self, measured: Mapping[str, Tensor]) -> dict[str, float]:
        """Return numbers on the device as plain ones, those in the newest log row too: one wait."""
        newest = self.log[-1] if self.log else {}
        waiting = {name: value for name, value in newest.items() if isinstance(value, Tensor)}
        tensors = [value.double() for value in (*waiting.values(), *measured.values())]
        numbers = torch.stack(tensors).tolist() if tensors else []
        newest.update(zip(waiting, numbers, strict=False))
        return dict(zip(measured, numbers[len(waiting) :], strict=True))


def state(trainee: Trainee, progress: Progress) -> dict[str, Any]:
    """Return all that `restore` needs to go on bit-exactly."""
    progress.read({})
    return {
        "weights": trainee.flat.weights,
        "optimizer": trainee.update.state(),
        "progress": asdict(progress),
    }


def restore(saved: dict[str, Any], trainee: Trainee) -> Progress:
    """Put weights and moments back and return the progress."""
    trainee.flat.weights.copy_(saved["weights"])
    trainee.update.load(saved["optimizer"])
    return Progress(**saved["progress"])
