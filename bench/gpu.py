"""How fast are training and measuring on a GPU, against Hugging Face's Trainer and a plain loop?

Prints tokens per second and MFU for Pythia's shapes, 70m to 1b, with random weights and rows of
2,048 tokens, all in one run; then recall's losses against a forward pass alone. Results are kept in
bench/gpu.md. Run from the project's root on a machine with a GPU: python bench/gpu.py
With --tiny it takes a tiny shape on any machine, to see that it works: those figures mean nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from palimpsest import costs
from palimpsest.core.course import Course, Progress, Trainee
from palimpsest.core.loop import train
from palimpsest.core.losses import micro_batch_tokens, pack, row_losses, training_tokens
from palimpsest.core.models import new_neox
from palimpsest.core.policies import fixed
from palimpsest.core.rows import Batch, Row
from palimpsest.core.speed import peak_operations
from palimpsest.core.stops import Settings
from palimpsest.shapes import PYTHIA, Shape

HEADS = {"pythia-70m": 8, "pythia-160m": 12, "pythia-410m": 16, "pythia-1b": 8, "tiny": 2}
ROW, ROWS = 2048, 16
STEPS, WARM_UP = 20, 5
LEARNING_RATE = 1e-5
TINY, TINY_ROW, TINY_ROWS = Shape(16, 1, 50, 32), 32, 4
OPTIMIZER = {
    "kind": "adamw",
    "beta1": 0.9,
    "beta2": 0.95,
    "epsilon": 1e-8,
    "weight_decay": 0.0,
    "clip_norm": 1.0,
    "layer_slope": 0.0,
}


@dataclass(frozen=True)
class Case:
    """One shape, and the tokens (steps, rows, targets + 1) that every contestant trains on."""

    name: str
    shape: Shape
    rows: np.ndarray

    @property
    def row(self) -> int:
        """Targets of a row."""
        return int(self.rows.shape[2]) - 1

    @property
    def n_rows(self) -> int:
        """Rows of a step."""
        return int(self.rows.shape[1])

    @property
    def n_tokens(self) -> int:
        """Targets of one step."""
        return self.row * self.n_rows

    def model(self) -> PreTrainedModel:
        """Return the model with random fp32 weights, on the GPU where there is one."""
        return new_neox(
            hidden_size=self.shape.hidden_size,
            layers=self.shape.layers,
            heads=HEADS[self.name],
            vocab_size=self.shape.vocab_size,
            context_length=self.row,
            seed=0,
        )

    def batch(self, step: int) -> Batch:
        """Return the rows of a step."""
        chosen = self.rows[step % len(self.rows)]
        return Batch(new=tuple(Row(row, "new", 0, piece=-1) for row in chosen), replay=())


@dataclass
class Clock:
    """The moments at which steps ended, the device's work included: one clock for everybody."""

    moments: list[float] = field(default_factory=list)

    def stamp(self) -> None:
        """Wait for the device and note the time."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.moments.append(time.perf_counter())

    def tokens_per_second(self, case: Case) -> float:
        """Return the speed of the steps after those that warm up."""
        seconds = self.moments[-1] - self.moments[WARM_UP - 1]
        return case.n_tokens * (len(self.moments) - WARM_UP) / seconds


class Stamps(TrainerCallback):
    """Stamps the clock after each of Trainer's updates."""

    def __init__(self, clock: Clock):
        self.clock = clock

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stamp: the update has been made, the gradient is gone."""
        self.clock.stamp()


def main(arguments: list[str]) -> None:
    """Measure every shape; without a GPU say so and measure nothing but a tiny one, if asked."""
    tiny = arguments == ["--tiny"]
    if not (tiny or torch.cuda.is_available()):
        print("no GPU here: nothing measured")
        return
    on_gpu = torch.cuda.is_available()
    peak = peak_operations(torch.device("cuda" if on_gpu else "cpu")) or float("nan")
    name = torch.cuda.get_device_name() if on_gpu else "CPU"
    print(
        f"{name}, torch {torch.__version__}; MFU of {peak:.3g} dense bfloat16 operations a second,"
    )
    print("by 6 N per token as in the records, then with attention and output head (bench/gpu.md)")
    for case in [tiny_case()] if tiny else pythia_cases():
        for what, tokens_per_second, passes in measured(case):
            usual, whole = (tokens_per_second * n / peak for n in operations(case, passes))
            print(
                f"{case.name:12} {what:24} {tokens_per_second:12,.0f} tokens/s  "
                f"MFU {usual:.1%}, {whole:.1%}"
            )


def tiny_case() -> Case:
    """Return a shape that any machine trains at once."""
    tokens = np.random.default_rng(0).integers(0, TINY.vocab_size, (STEPS, TINY_ROWS, TINY_ROW + 1))
    return Case("tiny", TINY, tokens)


def pythia_cases() -> Iterator[Case]:
    """Yield Pythia's shapes, smallest first."""
    for name in (name for name in HEADS if name in PYTHIA):
        tokens = np.random.default_rng(0).integers(0, 50_000, (STEPS, ROWS, ROW + 1))
        yield Case(name, PYTHIA[name], tokens)


def operations(case: Case, passes: int) -> tuple[float, float]:
    """Return the operations of a token: 2 N per pass, and with attention and output head."""
    n_params, _ = costs.parameters(case.shape)
    return 2.0 * n_params * passes, costs.training(case.shape, 1, row=case.row).flops * passes / 3


def measured(case: Case) -> Iterator[tuple[str, float, int]]:
    """Yield (contestant, tokens per second, passes of a forward's cost)."""
    contestants: tuple[tuple[str, Callable[[Case], float], int], ...] = (
        ("palimpsest, training", ours, 3),
        *([("the same, compiled", compiled, 3)] if torch.cuda.is_available() else []),
        ("plain compiled loop", plain, 3),
        ("Hugging Face Trainer", trainer, 3),
        ("palimpsest, recall", recall, 1),
        ("forward alone", forward_alone, 1),
    )
    for what, contestant, passes in contestants:
        torch.cuda.empty_cache()
        yield what, contestant(case), passes


def ours(case: Case) -> float:
    """Train by the program's own loop at a fixed rate."""
    return trained(case, case.model())


def compiled(case: Case) -> float:
    """Train by the program's own loop, the model below its output head compiled."""
    model: Any = case.model()
    model.base_model.compile()
    return trained(case, model)


def trained(case: Case, model: PreTrainedModel) -> float:
    """Return the speed of the program's own loop."""
    trainee, clock = Trainee(model, OPTIMIZER), Clock()
    course = Course(
        batch=case.batch,
        n_steps=STEPS,
        policy=fixed.rate,
        policy_params=fixed.Params(kind="fixed", learning_rate=LEARNING_RATE),
        stops=Settings(diverged_patience=None),
    )
    train(trainee, course, Progress(), after_step=clock.stamp)
    return clock.tokens_per_second(case)


def plain(case: Case) -> float:
    """Train by the shortest loop: bfloat16 autocast, torch.compile, fused AdamW."""
    model: Any = case.model().train()
    on_gpu = torch.cuda.is_available()
    compiled: Any = torch.compile(model) if on_gpu else model  # elsewhere it asks for a compiler
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    batches = torch.from_numpy(case.rows).to(model.device)

    def step(number: int) -> None:
        for rows in batches[number].split(max(1, training_tokens(model) // case.row)):
            with torch.autocast(model.device.type, dtype=torch.bfloat16):
                loss = next_token_loss(compiled(rows[:, :-1]).logits, rows)
                loss = loss * len(rows) / case.n_rows
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return timed(case, step)


def trainer(case: Case) -> float:
    """Train by Hugging Face's Trainer with bfloat16 and fused AdamW."""
    model: Any = case.model()
    flat = case.rows.reshape(-1, case.row + 1)
    rows = [{"input_ids": row[:-1], "labels": row[:-1]} for row in flat]
    per_device = min(max(1, training_tokens(model) // case.row), case.n_rows)
    clock = Clock()
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            max_steps=STEPS,
            per_device_train_batch_size=per_device,
            gradient_accumulation_steps=case.n_rows // per_device,
            bf16=True,
            use_cpu=not torch.cuda.is_available(),
            optim="adamw_torch_fused",
            learning_rate=LEARNING_RATE,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        )
        callbacks = [Stamps(clock)]
        Trainer(model=model, args=arguments, train_dataset=rows, callbacks=callbacks).train()
    return clock.tokens_per_second(case)


def recall(case: Case) -> float:
    """Measure losses by the program's own path."""
    model: Any = case.model()
    rows = case.batch(0).new
    packed = pack(rows, max_tokens=micro_batch_tokens(model), device=model.device)
    return timed(case, lambda _: row_losses(model, packed))


def forward_alone(case: Case) -> float:
    """Run the model forward in the same micro-batches and dtype, and nothing after its logits."""
    model: Any = case.model()
    rows = torch.from_numpy(case.rows[0]).to(model.device)[:, :-1]
    parts = rows.split(max(1, micro_batch_tokens(model) // case.row))

    def step(_: int) -> None:
        with torch.no_grad():
            for part in parts:
                model(part, use_cache=False)

    return timed(case, step)


def next_token_loss(logits_BTV: Tensor, rows: Tensor) -> Tensor:
    """Return the mean loss of predicting each next token."""
    return cross_entropy(logits_BTV.flatten(0, 1).float(), rows[:, 1:].flatten())


def timed(case: Case, step: Callable[[int], Any]) -> float:
    """Return the tokens per second of steps, after some that warm up."""
    clock = Clock()
    for number in range(STEPS):
        step(number)
        clock.stamp()
    return clock.tokens_per_second(case)


if __name__ == "__main__":
    main(sys.argv[1:])
