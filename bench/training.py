"""How fast does training go, beside Hugging Face Trainer, and how long does a phase take to start?

Trains the same models on the same batches of 8 × 128 tokens, fp32, one thread, AdamW, clipping, in
turns, and prints tokens per second. Run from the project's root: python bench/training.py
"""

import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from transformers import Trainer, TrainingArguments

from palimpsest.core.course import Course, Progress, Trainee
from palimpsest.core.landscape import Line
from palimpsest.core.loop import train
from palimpsest.core.models import new_neox, save_causal_lm
from palimpsest.core.policies import fixed
from palimpsest.core.rows import Batch, Row
from palimpsest.core.stops import Settings
from palimpsest.stages import train as stage

SIZES = {
    "neox-25k": {"hidden_size": 32, "layers": 2, "heads": 2},
    "neox-100k": {"hidden_size": 64, "layers": 2, "heads": 4},
    "neox-336k": {"hidden_size": 96, "layers": 3, "heads": 4},
    "neox-793k": {"hidden_size": 128, "layers": 4, "heads": 4},
}
VOCAB_SIZE, N_TARGETS, N_ROWS, N_STEPS, N_TURNS = 2048, 128, 8, 40, 3
RATE = 1e-3
OPTIMIZER = {"kind": "adamw", "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8}
OPTIMIZER |= {"weight_decay": 0.0, "clip_norm": 1.0, "layer_slope": 0.0}
STREAM = {"kind": "chunks", "sequence_length": N_TARGETS, "batch_tokens": N_TARGETS * N_ROWS}
PHASE = {
    "kind": "train",
    "stream": STREAM | {"n_new_tokens": 32 * N_TARGETS * N_ROWS},
    "replay_fraction": 0.25,
    "policy": {"kind": "fixed", "learning_rate": RATE},
    "optimizer": OPTIMIZER,
    "ewc": None,
    "carry_optimizer": False,
    "checkpoints": {"kind": "final"},
    "stop": {"steps": 1},
    "measure_edge_every": 0,
    "measure_decrease": False,
}


def main() -> None:
    """Measure each size in turns, then the start of a phase."""
    torch.set_num_threads(1)
    rows = random_rows()
    for name, shape in SIZES.items():
        rates: dict[str, list[float]] = {"palimpsest": [], "Trainer": []}
        for _ in range(N_TURNS):
            rates["palimpsest"].append(ours(shape, rows))
            rates["Trainer"].append(trainers(shape, rows))
        mine, theirs = (statistics.median(found) for found in rates.values())
        print(f"{name}: {mine:,.0f} tokens/s, Trainer {theirs:,.0f}, ratio {mine / theirs:.2f}")
    for name, shape in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            seconds = phase_seconds(shape, Path(folder))
        print(f"{name}: a phase of one step, from call to files: {seconds:.2f} s")


def model_of(shape: dict) -> torch.nn.Module:
    """Return a fresh model of a size."""
    return new_neox(**shape, vocab_size=VOCAB_SIZE, context_length=N_TARGETS, seed=0)


def random_rows() -> list[Row]:
    """Return the rows of all steps."""
    tokens = np.random.default_rng(0).integers(0, VOCAB_SIZE, N_STEPS * N_ROWS * N_TARGETS + 1)
    starts = range(0, len(tokens) - 1, N_TARGETS)
    return [Row(tokens[s : s + N_TARGETS + 1], "new", s, piece=0) for s in starts]


def ours(shape: dict, rows: list[Row]) -> float:
    """Return our tokens per second, with slope, drift, stop rules and log as in every phase."""
    trainee = Trainee(model_of(shape), OPTIMIZER)
    batches = [Batch(tuple(rows[at : at + N_ROWS]), ()) for at in range(0, len(rows), N_ROWS)]
    course = Course(
        batch=batches.__getitem__,
        n_steps=N_STEPS,
        policy=fixed.rate,
        policy_params=fixed.Params(kind="fixed", learning_rate=RATE),
        stops=Settings(),
        line=Line,
        reference=trainee.flat.weights.clone(),
    )
    began = time.perf_counter()
    train(trainee, course, Progress(), after_step=lambda: None)
    return N_STEPS * N_ROWS * N_TARGETS / (time.perf_counter() - began)


def trainers(shape: dict, rows: list[Row]) -> float:
    """Return Trainer's tokens per second, its own start-up left out."""
    # Trainer's labels are shifted inside: rows of as many targets as ours, one token longer.
    data = [{"input_ids": row.tokens, "labels": row.tokens} for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=N_ROWS,
            max_steps=N_STEPS,
            learning_rate=RATE,
            lr_scheduler_type="constant",
            optim="adamw_torch",
            max_grad_norm=1.0,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = Trainer(model=model_of(shape), args=arguments, train_dataset=data)
        said = trainer.train().metrics
    return N_STEPS * N_ROWS * N_TARGETS / float(said["train_runtime"])


def phase_seconds(shape: dict, folder: Path) -> float:
    """Return the seconds of a phase of one step, its files included and imports left out."""
    base, out = folder / "base", folder / "out"
    save_causal_lm(model_of(shape), base / "step-00000001", folder)
    listed = {"checkpoints": [{"step": 1, "folder": "step-00000001"}], "final": "step-00000001"}
    (base / "base.json").write_text(json.dumps(listed))
    inputs = {"before": base, "base": base}
    for seed, role in enumerate(("new", "original")):
        inputs[role] = folder / role
        inputs[role].mkdir()
        tokens = np.random.default_rng(seed).integers(0, VOCAB_SIZE, 500_000)
        np.save(inputs[role] / "train.npy", tokens.astype(np.uint16))
    out.mkdir()
    spec = {"phase": PHASE, "epoch": 0, "epochs": None, "seed": 0, "base_step": "final"}
    began = time.perf_counter()
    stage.build(spec, inputs, out)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
