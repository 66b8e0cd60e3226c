"""A run's checkpoints → the loss on every piece, held-out losses, drift and KL, as tidy tables.

One process builds the model and its batches once and swaps weights in place.
"""

from __future__ import annotations

import io
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from transformers import PreTrainedModel

from palimpsest import progress
from palimpsest.core.artifacts import (
    Checkpoint,
    base_checkpoint,
    held_out_tokens,
    phase_checkpoints,
    questions,
    training_tokens,
)
from palimpsest.core.held_out import tokens_per_byte
from palimpsest.core.models import load_causal_lm
from palimpsest.core.recall import Bench, Frames, Sample, make_bench, make_sample, measure
from palimpsest.core.resume import Saver
from palimpsest.core.rows import Piece, Source
from palimpsest.core.streams import make_stream
from palimpsest.core.swap import swap_weights
from palimpsest.core.visits import first_and_last, with_live_losses

Spec = dict[str, Any]
Inputs = dict[str, Any]

# Role of an input → what a row of it is called.
CORPORA: dict[str, Source] = {"new": "new", "original": "replay"}

# Many small tables between large tensors that come and go keep the heap from shrinking.
JOINED_EVERY = 16


@dataclass
class Done:
    """What has been measured: the rows of each checkpoint, and the last one's weights."""

    n_checkpoints: int = 0
    frames: dict[str, list[pd.DataFrame]] = field(default_factory=dict)
    weights: Tensor | None = None

    def add(self, frames: Frames, weights: Tensor) -> None:
        """Take the rows of one more checkpoint."""
        self.n_checkpoints += 1
        self.weights = weights.clone()
        for name, frame in frames.items():
            self.frames.setdefault(name, []).append(frame)
        if self.n_checkpoints % JOINED_EVERY == 0:
            self.joined()

    def joined(self) -> Frames:
        """Return all rows, one table per name, and keep them as such."""
        tables = {name: pd.concat(parts, ignore_index=True) for name, parts in self.frames.items()}
        self.frames = {name: [table] for name, table in tables.items()}
        return tables


def build(spec: Spec, inputs: Inputs, out: Path) -> None:
    """Measure θ₀ and the run's checkpoints.

    spec: every, held_out_tokens, drift_tokens, checkpoints ("all" or "final"), per_token and
    `phases`, the spec of each train artifact in order; inputs: base, trains, new, original and,
    where a phase asks for them, questions. `checkpoint_step` 0 is θ₀.
    """
    base = base_checkpoint(inputs["base"], spec["phases"][0]["base_step"])
    model = load_causal_lm(base.folder)
    pieces = _pieces(spec, inputs, end_token=model.config.eos_token_id)
    visits, repeats = _visits(inputs["trains"], pieces)
    samples = [_sample(model, spec, inputs[role], corpus=role) for role in CORPORA]
    bench = make_bench(
        model, pieces, every=spec["every"], samples=samples, per_token=spec["per_token"]
    )
    _say_what_is_left_out(bench, len(pieces), every=spec["every"])
    saver = Saver(out)
    frames = _measure_all(bench, _checkpoints(spec, inputs["trains"]), saver)
    joined = with_live_losses(frames["recall"], visits, repeats)
    frames["recall"] = _with_bits(joined, inputs["new"])
    places = [(piece.position, piece.n_tokens) for piece in pieces]
    frames["pieces"] = first_and_last(visits, places)
    for name, frame in frames.items():
        frame.to_parquet(out / f"{name}.parquet", index=False)
    summary = {
        "base_step": base.step,
        "n_pieces": len(pieces),
        "n_pieces_measured": len(bench.pieces),
    }
    (out / "recall.json").write_text(json.dumps(summary, sort_keys=True, indent=1) + "\n", "utf-8")
    saver.remove()


def _say_what_is_left_out(bench: Bench, n_pieces: int, *, every: int) -> None:
    if len(bench.pieces) < n_pieces:
        progress.say(f"recall.every {every}: measures {len(bench.pieces)} of {n_pieces} pieces")


def _with_bits(recall: pd.DataFrame, new: Path) -> pd.DataFrame:
    """Add bits per byte, at the tokens per byte of the whole training text."""
    documents = pd.read_parquet(new / "train_documents.parquet").assign(domain="all")
    bits = recall.loss_nats.astype(float) / np.log(2) * tokens_per_byte(documents)["all"]
    return recall.assign(bits_per_byte=bits.astype(np.float32))


def _pieces(spec: Spec, inputs: Inputs, *, end_token: int) -> list[Piece]:
    """Return the pieces of all phases in the order of D, those with equal place and length once."""
    found: dict[tuple[int, int], Piece] = {}
    asked = [(one.question_ids, one.answer_ids) for one in questions(inputs.get("questions"))]
    for train in spec["phases"]:
        if train["epoch"] > 0 or train["phase"]["kind"] != "train":
            continue
        stream = make_stream(
            _without_order(train["phase"]["stream"]),
            new=training_tokens(inputs["new"]),
            original=training_tokens(inputs["original"]),
            replay_fraction=train["phase"]["replay_fraction"],
            seed=train["seed"],
            questions=asked,
            end_token=end_token,
        )
        found |= {(piece.position, piece.n_tokens): piece for piece in stream.pieces}
    return [found[place] for place in sorted(found)]


def _without_order(stream: Spec) -> Spec:
    """Drop the orders of training: they change no piece, and some need losses to sort by."""
    orders = ("order", "replay_order", "part")
    return {name: value for name, value in stream.items() if name not in orders}


def _visits(trains: list[Path], pieces: list[Piece]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return all epochs' visits, with the live losses around them, and the losses within them."""
    places = {(piece.position, piece.n_tokens): i for i, piece in enumerate(pieces)}
    visits, repeats = [], []
    for train in trains:
        passes = pd.read_parquet(train / "pieces.parquet").dropna(subset=["first_step"])
        keys = zip(passes.position, passes.n_tokens, strict=True)
        passes["place"] = [places[key] for key in keys]
        live = pd.read_parquet(train / "live.parquet")
        for moment in ("before_first", "after_last"):
            losses = live[live.moment == moment][["piece", "visit", "loss_nats"]]
            passes = passes.merge(losses.rename(columns={"loss_nats": moment}), how="left")
        within = live[live.moment == "after_repeat"].rename(columns={"step": "checkpoint_step"})
        number = passes.drop_duplicates("piece").set_index("piece").place
        repeats.append(within.assign(piece=within.piece.map(number)))
        visits.append(passes.assign(piece=passes.place))
    whole = dict.fromkeys(("piece", "n_tokens", "first_step", "last_step"), int)
    stacked = pd.concat(visits, ignore_index=True).astype(whole)  # an edit has no piece, no type
    return stacked, pd.concat(repeats, ignore_index=True).astype({"piece": int})


def _sample(model: PreTrainedModel, spec: Spec, folder: Path, *, corpus: str) -> Sample:
    tokens, documents = held_out_tokens(folder)
    return make_sample(
        model,
        tokens,
        documents,
        corpus=corpus,
        source=CORPORA[corpus],
        n_tokens=(spec["held_out_tokens"], spec["drift_tokens"]),
    )


def _checkpoints(spec: Spec, trains: list[Path]) -> list[Checkpoint]:
    """Return the run's checkpoints, in order; the last one alone for "final"."""
    found = {kept.step: kept for train in trains for kept in phase_checkpoints(train)}
    listed = sorted(found.values())
    return listed if spec["checkpoints"] == "all" else listed[-1:]


def _measure_all(bench: Bench, checkpoints: list[Checkpoint], saver: Saver) -> Frames:
    """Measure θ₀ and each checkpoint, going on after those an earlier attempt has saved."""
    done = _saved(saver, bench)
    started, n_before, total = time.monotonic(), done.n_checkpoints, 1 + len(checkpoints)
    for checkpoint in [None, *checkpoints][n_before:]:
        if checkpoint is not None:
            swap_weights(bench.model, checkpoint.folder)
        step = 0 if checkpoint is None else checkpoint.step
        done.add(measure(bench, step, done.weights), bench.flat.weights)
        progress.step_done(done.n_checkpoints, total, "checkpoint")
        if saver.due():
            _save(saver, done)
    n_tokens = bench.n_tokens * (total - n_before)
    progress.note(n_tokens=n_tokens, wall_seconds=time.monotonic() - started)
    return done.joined()


def _saved(saver: Saver, bench: Bench) -> Done:
    state = saver.load()
    if state is None:
        return Done()
    frames = {
        name: [pd.read_parquet(io.BytesIO(content.numpy().tobytes()))]
        for name, content in state["frames"].items()
    }
    return Done(state["n_checkpoints"], frames, state["weights"].to(bench.base_weights.device))


def _save(saver: Saver, done: Done) -> None:
    contents = {name: frame.to_parquet(index=False) for name, frame in done.joined().items()}
    frames = {
        name: torch.frombuffer(bytearray(content), dtype=torch.uint8)
        for name, content in contents.items()
    }
    state = {"n_checkpoints": done.n_checkpoints, "frames": frames, "weights": done.weights}
    saver.save(state, folders=())
