"""Turns base weights and batches into learning rates for asked decreases, and the loss landscape.

Per batch: one gradient on the batch as it is trained on, the optimiser's direction u, then forward
passes along θ − ηu. θ is the base's all along: moments are warmed by updates of rate 0.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
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
from palimpsest.core.landscape import Line
from palimpsest.core.losses import (
    BatchGradient,
    Packed,
    batch_gradient,
    mean_loss,
    micro_batch_tokens,
    pack,
)
from palimpsest.core.models import load_causal_lm
from palimpsest.core.rate_summary import (
    LANDSCAPE_COLUMNS,
    RATES_COLUMNS,
    frame,
    quartiles,
    summary,
)
from palimpsest.core.resume import Saver
from palimpsest.core.rows import Row
from palimpsest.core.search import Found
from palimpsest.core.streams import Stream, make_stream, original_rows
from palimpsest.core.update import Update
from palimpsest.faults import Fault
from palimpsest.progress import note, step_done

Spec = dict[str, Any]
Inputs = dict[str, Any]
Record = dict[str, Any]

DECADES = tuple(10.0**power for power in range(-10, 0))  # rates at which rounding is measured


@dataclass(frozen=True)
class Bench:
    """The state that is probed and all that it is measured on."""

    spec: Spec
    model: PreTrainedModel
    flat: FlatWeights
    stream: Stream
    original: list[Row]

    def pack(self, rows: tuple[Row, ...] | list[Row]) -> list[Packed]:
        """Return rows as micro-batches on the model's device."""
        device = self.flat.weights.device
        return pack(rows, max_tokens=micro_batch_tokens(self.model), device=device)


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
    steps = _steps_to_probe(
        bench.stream.n_steps, batches=spec["batches"], warm_steps=spec["warm_steps"]
    )
    saved = saver.load()
    records: list[Record] = [] if saved is None else json.loads(saved["records"])
    began, digest = time.perf_counter(), bench.flat.digest()
    for batch in range(len(records), len(steps)):
        records.append(_probe(bench, batch=batch, step=steps[batch]))
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


def _steps_to_probe(n_steps: int, *, batches: int, warm_steps: int) -> list[int]:
    """Return evenly spaced updates of the epoch that have a next one and, if it can be, a past."""
    last = max(n_steps - 2, 0)
    places = np.linspace(min(warm_steps, last), last, batches).round()
    return sorted({int(place) for place in places})


def _probe(bench: Bench, *, batch: int, step: int) -> Record:
    """Return what one batch shows: rates, landscape, slope and what is rounded away."""
    update = Update(bench.flat, bench.spec["optimizer"])
    for past in range(step - bench.spec["warm_steps"], step):
        _gradient(bench, past)
        update.direction()
    new, gradient = _gradient(bench, step)
    next_step = (step + bench.stream.repeats) % bench.stream.n_steps
    following = bench.pack(bench.stream.batch(next_step).new)
    line = Line(
        bench.model,
        bench.flat,
        update.direction(),
        new,
        loss_nats=gradient.loss_new_nats,
        gradient=gradient.new_gradient,
        highest_rate=bench.spec["rates"]["highest"],
    )
    return {
        "slope": line.slope,
        "share_rounded_away": [line.share_rounded_away(rate) for rate in DECADES],
        "rates": list(_rates(bench, line, following, batch=batch)),
        "landscape": list(_landscape(bench, line, new, following, batch=batch)),
    }


def _gradient(bench: Bench, step: int) -> tuple[list[Packed], BatchGradient]:
    """Return the new rows of an update and leave the gradient of its whole batch in `flat`."""
    batch = bench.stream.batch(step % bench.stream.n_steps)
    new = bench.pack(batch.new)
    replay = bench.pack(batch.replay)
    return new, batch_gradient(bench.model, bench.flat, new=new, replay=replay)


def _rates(bench: Bench, line: Line, following: list[Packed], *, batch: int) -> Iterator[Record]:
    """Yield one row per target; each search goes on from what the ones before have evaluated."""
    next_before = mean_loss(bench.model, following)
    for target, decrease in _targets(bench.spec["decreases"]):
        found = _search(line, target, decrease)
        rate, loss_after, next_after = found.learning_rate, math.nan, math.nan
        if rate is not None:
            loss_after, next_after = found.loss_nats, line.others(rate, [following])[0]
        if target == "best":
            decrease = 1 - loss_after / line.loss_nats
        yield {
            "batch": batch,
            "target": target,
            "decrease": decrease,
            "learning_rate": math.nan if rate is None else rate,
            "loss_before_nats": line.loss_nats,
            "loss_after_nats": loss_after,
            "next_loss_before_nats": next_before,
            "next_loss_after_nats": next_after,
            "n_forward": found.n_forward,
            "reason": found.reason,
        }


def _targets(decreases: list[float]) -> Iterator[tuple[str, float]]:
    """Yield the searches in the order in which they help each other: up along the curve."""
    yield from (("decrease", decrease) for decrease in sorted(decreases) if decrease > 0)
    yield ("best", math.nan)
    yield ("edge", math.nan)
    yield from (("decrease", decrease) for decrease in sorted(decreases)[::-1] if decrease < 0)


def _search(line: Line, target: str, decrease: float) -> Found:
    if target == "decrease":
        return line.target(decrease)
    return line.best() if target == "best" else line.edge()


def _landscape(
    bench: Bench, line: Line, new: list[Packed], following: list[Packed], *, batch: int
) -> Iterator[Record]:
    """Yield the losses on the same batch, the next one and old text; rate 0 is θ itself."""
    if not bench.spec["landscape"]:
        return
    parts = [new, following, bench.pack(bench.original)]
    rates = bench.spec["rates"]
    grid = np.geomspace(rates["lowest"], rates["highest"], rates["points"])
    for rate in (0.0, *grid.tolist()):
        losses = line.others(rate, parts)
        for measured_on, loss_nats in zip(("same", "next", "original"), losses, strict=True):
            values = (batch, measured_on, rate, loss_nats)
            yield dict(zip(LANDSCAPE_COLUMNS, values, strict=True))


def _write(out: Path, spec: Spec, records: list[Record]) -> None:
    rates = frame([row for record in records for row in record["rates"]], RATES_COLUMNS)
    rates.to_parquet(out / "rates.parquet", index=False)
    rows = [row for record in records for row in record["landscape"]]
    frame(rows, LANDSCAPE_COLUMNS).to_parquet(out / "landscape.parquet", index=False)
    rounded = np.mean([record["share_rounded_away"] for record in records], axis=0)
    probe = summary(rates, decreases=spec["decreases"]) | {
        "slope": quartiles(pd.Series([record["slope"] for record in records])),
        "share_rounded_away": dict(zip(map("{:g}".format, DECADES), rounded, strict=True)),
        "optimizer": spec["optimizer"]["kind"],
        "moments": "warmed" if spec["warm_steps"] else "fresh",
        "warm_steps": spec["warm_steps"],
    }
    text = json.dumps(probe, sort_keys=True, indent=1, allow_nan=False)
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
