"""How fast are training and measuring on a GPU, against Hugging Face's Trainer and a plain loop?

Prints tokens per second and MFU for Pythia's shapes, 70m to 1b, with random weights and rows of
2,048 tokens, all in one run; then recall's losses against a forward pass alone. Results are kept in
bench/gpu.md. Run from the project's root on a machine with a GPU: python bench/gpu.py
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, Trainer, TrainingArguments

from palimpsest import costs
from palimpsest.core.course import Course, Progress, Trainee
from palimpsest.core.loop import train
from palimpsest.core.losses import micro_batch_tokens, pack, row_losses
from palimpsest.core.models import new_neox
from palimpsest.core.policies import fixed
from palimpsest.core.rows import Batch, Row
from palimpsest.core.stops import Settings
from palimpsest.shapes import PYTHIA, Shape

HEADS = {"pythia-70m": 8, "pythia-160m": 12, "pythia-410m": 16, "pythia-1b": 8}
ROW, ROWS = 2048, 16
STEPS, WARM_UP = 20, 5
LEARNING_RATE = 1e-5
# Dense bfloat16 operations a second, from NVIDIA's data sheets (SXM).
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
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
    """One shape, and the rows that every contestant trains on."""

    name: str
    shape: Shape
    rows: np.ndarray

    @property
    def n_tokens(self) -> int:
        """Targets of one step."""
        return ROW * ROWS

    def model(self) -> PreTrainedModel:
        """Return the model with random fp32 weights, on the GPU."""
        return new_neox(
            hidden_size=self.shape.hidden_size,
            layers=self.shape.layers,
            heads=HEADS[self.name],
            vocab_size=self.shape.vocab_size,
            context_length=ROW,
            seed=0,
        )

    def batch(self, step: int) -> Batch:
        """Return the rows of a step."""
        chosen = self.rows[step % len(self.rows)]
        return Batch(new=tuple(Row(row, "new", 0, piece=-1) for row in chosen), replay=())


def main() -> None:
    """Measure every shape; without a GPU say so and measure nothing."""
    if not torch.cuda.is_available():
        print("no GPU here: nothing measured")
        return
    device = torch.cuda.get_device_name()
    peak = next((flops for name, flops in PEAKS.items() if name in device), float("nan"))
    print(
        f"{device}, torch {torch.__version__}; MFU of {peak:.3g} dense bfloat16 operations a second"
    )
    for name in HEADS:
        shape = PYTHIA[name]
        rows = np.random.default_rng(0).integers(0, 50_000, (STEPS, ROWS, ROW + 1))
        for what, tokens_per_second, passes in measured(Case(name, shape, rows)):
            flops = costs.training(shape, 1, row=ROW).flops * passes / 3
            mfu = tokens_per_second * flops / peak
            print(f"{name:12} {what:24} {tokens_per_second:12,.0f} tokens/s  MFU {mfu:.1%}")


def measured(case: Case) -> Iterator[tuple[str, float, int]]:
    """Yield (contestant, tokens per second, passes of a forward's cost)."""
    contestants: tuple[tuple[str, Callable[[Case], float], int], ...] = (
        ("palimpsest, training", ours, 3),
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
    trainee = Trainee(case.model(), OPTIMIZER)
    moments: list[float] = []

    def after_step() -> None:
        torch.cuda.synchronize()
        moments.append(time.perf_counter())

    course = Course(
        batch=case.batch,
        n_steps=STEPS,
        policy=fixed.rate,
        policy_params=fixed.Params(kind="fixed", learning_rate=LEARNING_RATE),
        stops=Settings(diverged_patience=None),
    )
    train(trainee, course, Progress(), after_step=after_step)
    return case.n_tokens * (STEPS - WARM_UP) / (moments[-1] - moments[WARM_UP - 1])


def plain(case: Case) -> float:
    """Train by the shortest loop: bfloat16 autocast, torch.compile, fused AdamW."""
    model: Any = case.model().train()
    compiled: Any = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    batches = torch.from_numpy(case.rows).cuda()

    def step(number: int) -> None:
        for rows in batches[number].split(max(1, micro_batch_tokens(model) // ROW)):
            with torch.autocast("cuda", dtype=torch.bfloat16):
                loss = next_token_loss(compiled(rows[:, :-1]).logits, rows) * len(rows) / ROWS
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return case.n_tokens / seconds_per_call(step)


def trainer(case: Case) -> float:
    """Train by Hugging Face's Trainer with bfloat16 and fused AdamW."""
    model: Any = case.model()
    rows = [{"input_ids": row[:-1], "labels": row[:-1]} for row in case.rows.reshape(-1, ROW + 1)]
    per_device = max(1, micro_batch_tokens(model) // ROW)
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            max_steps=STEPS,
            per_device_train_batch_size=min(per_device, ROWS),
            gradient_accumulation_steps=max(1, ROWS // per_device),
            bf16=True,
            optim="adamw_torch_fused",
            learning_rate=LEARNING_RATE,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        )
        done = Trainer(model=model, args=arguments, train_dataset=rows).train()
    return float(case.n_tokens * STEPS / done.metrics["train_runtime"])


def recall(case: Case) -> float:
    """Measure losses by the program's own path."""
    model: Any = case.model()
    rows = case.batch(0).new
    packed = pack(rows, max_tokens=micro_batch_tokens(model), device=torch.device("cuda"))
    return case.n_tokens / seconds_per_call(lambda _: row_losses(model, packed))


def forward_alone(case: Case) -> float:
    """Run the model forward in the same micro-batches and dtype, and nothing after its logits."""
    model: Any = case.model()
    rows = torch.from_numpy(case.rows[0]).cuda()[:, :-1]
    parts = rows.split(max(1, micro_batch_tokens(model) // ROW))

    def step(_: int) -> None:
        with torch.no_grad():
            for part in parts:
                model(part, use_cache=False)

    return case.n_tokens / seconds_per_call(step)


def next_token_loss(logits_BTV: Tensor, rows: Tensor) -> Tensor:
    """Return the mean loss of predicting each next token."""
    return cross_entropy(logits_BTV.flatten(0, 1).float(), rows[:, 1:].flatten())


def seconds_per_call(step: Callable[[int], Any]) -> float:
    """Return the seconds of one call, after some that warm up."""
    for number in range(WARM_UP):
        step(number)
    torch.cuda.synchronize()
    began = time.perf_counter()
    for number in range(WARM_UP, STEPS):
        step(number)
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / (STEPS - WARM_UP)


if __name__ == "__main__":
    main()
