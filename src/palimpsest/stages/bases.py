"""Turns token files of the original domain into small GPT-NeoX models pretrained from scratch.

Keeps several checkpoints of one pretraining, at doubling amounts of text.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tokenizers import Tokenizer

from palimpsest.core.checkpoints import doublings, folder_name
from palimpsest.core.course import Course, Progress, Trainee, restore, state
from palimpsest.core.loop import train
from palimpsest.core.models import count_parameters, new_neox, save_causal_lm
from palimpsest.core.policies import cosine
from palimpsest.core.resume import Saver
from palimpsest.core.rows import Batch, Row
from palimpsest.core.speed import speed
from palimpsest.core.stops import Settings
from palimpsest.faults import Fault
from palimpsest.progress import note, step_done

Spec = dict[str, Any]


def build(spec: Spec, inputs: dict[str, Any], out: Path) -> None:
    """Pretrain one size with one seed on the training tokens of P.

    spec: shape of the model, `n_tokens`, `batch_sequences`, the cosine's `learning_rate`,
    `warmup_fraction` and `final_learning_rate_fraction`, `weight_decay`, `seed`, how many
    `checkpoints`; inputs: tokens (of P), tokenizer.
    """
    trainee = Trainee(_new_model(spec, inputs["tokenizer"]), _optimizer(spec))
    course = _course(spec, np.load(inputs["tokens"] / "train.npy", mmap_mode="r"))
    keep = doublings(n_steps=course.n_steps, count=spec["checkpoints"])
    saver = Saver(out)
    saved = saver.load()
    progress = Progress() if saved is None else restore(saved, trainee)

    def after_step() -> None:
        if progress.step in keep:
            save_causal_lm(trainee.model, out / folder_name(progress.step), inputs["tokenizer"])
        step_done(progress.step, course.n_steps, "step")
        if saver.due():
            kept = [folder_name(step) for step in keep if step <= progress.step]
            saver.save(state(trainee, progress), folders=kept)

    began, n_before = time.perf_counter(), progress.n_new_tokens
    train(trainee, course, progress, after_step=after_step)
    n_tokens = progress.n_new_tokens - n_before
    note(**speed(trainee, n_tokens=n_tokens, wall_seconds=time.perf_counter() - began))
    _write(out, trainee, progress, keep=[step for step in keep if step <= progress.step])
    saver.remove()


def _new_model(spec: Spec, tokenizer: Path) -> Any:
    vocab_size = Tokenizer.from_file(str(tokenizer / "tokenizer.json")).get_vocab_size()
    shape = {name: spec[name] for name in ("hidden_size", "layers", "heads", "context_length")}
    return new_neox(**shape, vocab_size=vocab_size, seed=spec["seed"])


def _optimizer(spec: Spec) -> dict[str, Any]:
    """Return AdamW as GPT-NeoX models are pretrained with it."""
    return {
        "kind": "adamw",
        "beta1": 0.9,
        "beta2": 0.95,
        "epsilon": 1e-8,
        "weight_decay": spec["weight_decay"],
        "clip_norm": 1.0,
        "layer_slope": 0.0,
    }


def _course(spec: Spec, tokens: NDArray[np.integer[Any]]) -> Course:
    batch_tokens = spec["batch_sequences"] * spec["context_length"]
    n_steps, highest = max(1, round(spec["n_tokens"] / batch_tokens)), spec["learning_rate"]
    return Course(
        batch=_random_batches(spec, tokens),
        n_steps=n_steps,
        policy=cosine.rate,
        policy_params=cosine.Params(
            kind="cosine",
            learning_rate=highest,
            final=highest * spec["final_learning_rate_fraction"],
            warmup=round(n_steps * spec["warmup_fraction"]),
        ),
        stops=Settings(diverged_patience=None),
        n_steps_phase=n_steps,
    )


def _random_batches(spec: Spec, tokens: NDArray[np.integer[Any]]) -> Callable[[int], Batch]:
    """Return step → batch: rows drawn without replacement; another shuffle when all were drawn."""
    n_targets, n_sequences = spec["context_length"], spec["batch_sequences"]
    n_rows = (len(tokens) - 1) // n_targets
    if n_rows < 1:
        raise Fault(f"bases: {len(tokens)} training tokens are less than one row of {n_targets}")

    @functools.lru_cache(maxsize=2)
    def shuffled(round_: int) -> NDArray[np.int64]:
        return np.random.default_rng([spec["seed"], round_]).permutation(n_rows)

    def row(draw: int) -> Row:
        start = int(shuffled(draw // n_rows)[draw % n_rows]) * n_targets
        row_tokens = np.asarray(tokens[start : start + n_targets + 1], dtype=np.int64)
        return Row(row_tokens, "new", start, piece=-1)

    def batch(step: int) -> Batch:
        draws = range(step * n_sequences, (step + 1) * n_sequences)
        return Batch(new=tuple(row(draw) for draw in draws), replay=())

    return batch


def _write(out: Path, trainee: Trainee, progress: Progress, *, keep: list[int]) -> None:
    if progress.stop_reason != "epochs":
        raise Fault(f"bases: the loss is not finite after {progress.step} steps; lower the rate")
    log = pd.DataFrame(progress.log).rename(
        columns={"n_new_tokens": "n_tokens", "loss_new_nats": "loss_nats"}
    )
    log = log[["step", "n_tokens", "learning_rate", "loss_nats", "grad_norm"]]
    log.to_parquet(out / "log.parquet", index=False)
    n_params, n_params_total = count_parameters(trainee.model)
    n_tokens = dict(zip(log.step, log.n_tokens, strict=True))
    base = {
        "n_params": n_params,
        "n_params_total": n_params_total,
        "checkpoints": [
            {"step": step, "n_tokens": int(n_tokens[step]), "folder": folder_name(step)}
            for step in keep
        ],
        "final": folder_name(keep[-1]),
    }
    (out / "base.json").write_text(json.dumps(base, sort_keys=True, indent=1) + "\n", "utf-8")
