"""Turns base weights and batches into rates for asked decreases, and the loss landscape."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.torch import save_file
from transformers import PreTrainedModel

from palimpsest.core.artifacts import base_checkpoint, questions
from palimpsest.core.base_losses import piece_losses, replay_losses
from palimpsest.core.fisher import choose, diagonal_fisher
from palimpsest.core.flat import FlatWeights
from palimpsest.core.held_out import sample_rows
from palimpsest.core.models import load_causal_lm
from palimpsest.core.probing import Bench, Record, probe_batch, steps_to_probe
from palimpsest.core.rate_summary import landscape_frame, rates_frame, summary
from palimpsest.core.resume import Saver
from palimpsest.core.rows import Row
from palimpsest.core.streams import Stream, make_stream, original_rows
from palimpsest.faults import Fault
from palimpsest.progress import note, step_done

Spec = dict[str, Any]
Inputs = dict[str, Any]


def build(spec: Spec, inputs: Inputs, out: Path) -> None:
    """Measure one base: rates at one replay ratio (kind landscape), losses per piece, or Fisher.

    spec of a landscape: stream, replay_fraction, seed, optimizer, batches, warm_steps, decreases,
    rates (lowest, highest, points), landscape (whether to draw it), original_tokens, base_step;
    inputs: base, new, original and, for a stream of questions, questions.
    """
    if spec["kind"] == "losses":
        return _losses(spec, inputs, out)
    if spec["kind"] == "fisher":
        return _fisher(spec, inputs, out)
    bench, saver = _bench(spec, inputs), Saver(out)
    steps = steps_to_probe(
        bench.stream.n_steps, batches=spec["batches"], warm_steps=spec["warm_steps"]
    )
    saved = saver.load()
    records: list[Record] = [] if saved is None else json.loads(saved["records"])
    began, digest = time.perf_counter(), bench.flat.digest()
    for batch in range(len(records), len(steps)):
        records.append(probe_batch(bench, batch=batch, step=steps[batch]))
        step_done(batch + 1, len(steps), "batch")
        if saver.due():
            saver.save({"records": json.dumps(records)}, folders=())
    if bench.flat.digest() != digest:
        raise RuntimeError("the probe has changed the weights that it measures")
    note(wall_seconds=time.perf_counter() - began)
    _write(out, spec, records)
    saver.remove()


def _bench(spec: Spec, inputs: Inputs) -> Bench:
    model = load_causal_lm(_weights(inputs["base"], base_step=spec["base_step"]))
    stream = _stream(spec, inputs, model)
    if not stream.batch(0).new:
        raise Fault("probe: replay_fraction 1 leaves no new data to measure; probe it at 0")
    return Bench(spec, model, FlatWeights(model), stream, _held_out(spec, inputs["original"]))


def _stream(spec: Spec, inputs: Inputs, model: PreTrainedModel) -> Stream:
    return make_stream(
        spec["stream"],
        new=np.load(inputs["new"] / "train.npy", mmap_mode="r"),
        original=np.load(inputs["original"] / "train.npy", mmap_mode="r"),
        replay_fraction=spec["replay_fraction"],
        seed=spec["seed"],
        questions=_questions(inputs),
        end_token=model.config.eos_token_id,
        context_length=model.config.max_position_embeddings,
    )


def _weights(folder: Path, *, base_step: int | str) -> Path:
    return base_checkpoint(folder, base_step).folder


def _questions(inputs: Inputs) -> list[tuple[list[int], list[int]]]:
    """Return pairs of question ids and answer ids."""
    asked = questions(inputs.get("questions"))
    return [(list(one.question_ids), list(one.answer_ids)) for one in asked]


def _held_out(spec: Spec, folder: Path) -> list[Row]:
    """Return a fixed sample of the original domain's held-out text."""
    rows, _ = sample_rows(
        np.load(folder / "held_out.npy", mmap_mode="r"),
        pd.read_parquet(folder / "held_out_documents.parquet"),
        n_tokens=spec["original_tokens"],
        sequence_length=spec["stream"]["sequence_length"],
        source="replay",
    )
    return rows


def _write(out: Path, spec: Spec, records: list[Record]) -> None:
    rates_frame(records).to_parquet(out / "rates.parquet", index=False)
    landscape_frame(records).to_parquet(out / "landscape.parquet", index=False)
    text = json.dumps(summary(records, spec), sort_keys=True, indent=1, allow_nan=False)
    (out / "probe.json").write_text(text + "\n", "utf-8")


def _losses(spec: Spec, inputs: Inputs, out: Path) -> None:
    """Write the base's loss on each piece of a stream, or on each row that replay draws from.

    spec: of ("new" or "original"), base_step; for new text the stream, replay_fraction and seed
    that cut it, for original text sequence_length.
    """
    model = load_causal_lm(_weights(inputs["base"], base_step=spec["base_step"]))
    if spec["of"] == "new":
        losses = piece_losses(model, _stream(spec, inputs, model).pieces)
    else:
        tokens = np.load(inputs["original"] / "train.npy", mmap_mode="r")
        rows = original_rows(tokens, sequence_length=spec["sequence_length"])
        losses = replay_losses(model, rows)
    losses.to_parquet(out / "losses.parquet", index=False)


def _fisher(spec: Spec, inputs: Inputs, out: Path) -> None:
    """Write the diagonal Fisher information of original text, by the names of the parameters.

    spec: n_tokens, sequence_length, seed, base_step.
    """
    model = load_causal_lm(_weights(inputs["base"], base_step=spec["base_step"]))
    flat = FlatWeights(model)
    tokens = np.load(inputs["original"] / "train.npy", mmap_mode="r")
    every = original_rows(tokens, sequence_length=spec["sequence_length"])
    rows = choose(every, n_tokens=spec["n_tokens"], seed=spec["seed"])
    fisher = diagonal_fisher(
        model, flat, rows, row_done=lambda done: step_done(done, len(rows), "sequence")
    )
    named = {part.name: fisher[part.start : part.stop].clone().cpu() for part in flat.segments}
    save_file(named, out / "fisher.safetensors")
    summary = {
        "n_sequences": len(rows),
        "n_tokens": sum(row.n_targets for row in rows),
        "mean": float(fisher.double().mean()),
        "share_zero": float((fisher == 0).double().mean()),
    }
    (out / "fisher.json").write_text(json.dumps(summary, sort_keys=True, indent=1) + "\n", "utf-8")
