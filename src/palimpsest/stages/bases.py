"""Makes base models: small GPT-NeoX pretrained from token files, or published ones fetched.

A pretraining keeps several checkpoints, at doubling amounts of text; a published base is one.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from palimpsest.core.checkpoints import doublings, folder_name
from palimpsest.core.course import Course, Progress, Trainee, restore, state
from palimpsest.core.hub import model_files
from palimpsest.core.loop import train
from palimpsest.core.models import count_parameters, load_causal_lm, new_neox, save_causal_lm
from palimpsest.core.policies import cosine
from palimpsest.core.resume import Saver
from palimpsest.core.rows import Batch, Row
from palimpsest.core.speed import speed
from palimpsest.core.stops import Settings
from palimpsest.core.tokenizers import entries_and_end
from palimpsest.faults import Fault
from palimpsest.progress import note, step_done

Spec = dict[str, Any]


def build(spec: Spec, inputs: dict[str, Any], out: Path) -> None:
    """Write the base that `spec["kind"]` names: embedded or published."""
    if spec["kind"] == "published":
        fetch(spec, inputs["tokenizer"], out)
    else:
        pretrain(spec, inputs, out)


def fetch(spec: Spec, tokenizer: Path, out: Path) -> None:
    """Write a published model in fp32 under the study's tokenizer, no weight missing or left over.

    spec: repo and revision, or path; step and tokens_per_step (0: not known) of its pretraining.
    """
    folder, commit = model_files(spec)
    model = load_causal_lm(folder)
    n_rows = cast(nn.Embedding, model.get_input_embeddings()).num_embeddings
    n_entries, end_token = entries_and_end(tokenizer)
    if n_entries > n_rows:
        raise Fault(f"{folder}: {n_rows} embeddings for {n_entries} entries of the tokenizer")
    model.config.eos_token_id = end_token  # some name several
    name, step = folder_name(spec["step"]), spec["step"]
    save_causal_lm(model, out / name, tokenizer)
    n_tokens = step * spec["tokens_per_step"] or None
    kept = [{"step": step, "n_tokens": n_tokens, "folder": name}]
    _write_base(out, model, kept=kept, origin={**_origin(spec), "commit": commit})


def _origin(spec: Spec) -> dict[str, str]:
    return {name: spec[name] for name in ("repo", "revision", "path") if name in spec}


def pretrain(spec: Spec, inputs: dict[str, Any], out: Path) -> None:
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
    vocab_size, _ = entries_and_end(tokenizer)
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
    n_tokens = dict(zip(log.step, log.n_tokens, strict=True))
    kept = [
        {"step": step, "n_tokens": int(n_tokens[step]), "folder": folder_name(step)}
        for step in keep
    ]
    _write_base(out, trainee.model, kept=kept, origin={})


def _write_base(
    out: Path, model: Any, *, kept: list[dict[str, Any]], origin: dict[str, str | None]
) -> None:
    n_params, n_params_total = count_parameters(model)
    base = {
        "n_params": n_params,
        "n_params_total": n_params_total,
        "checkpoints": kept,
        "final": kept[-1]["folder"],
        "origin": origin,
    }
    (out / "base.json").write_text(json.dumps(base, sort_keys=True, indent=1) + "\n", "utf-8")
