"""A run's checkpoints → the loss on every piece, held-out losses, drift and KL, as tidy tables.

One process builds the model and its batches once and swaps weights in place.
"""

from __future__ import annotations

import json
import pickle
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor
from transformers import PreTrainedModel

from palimpsest import progress
from palimpsest.core.models import load_causal_lm
from palimpsest.core.recall import Bench, Frames, Sample, make_bench, make_sample, measure
from palimpsest.core.rows import Piece, Source
from palimpsest.core.streams import make_stream
from palimpsest.core.swap import swap_weights
from palimpsest.core.visits import first_and_last, with_live_losses

Spec = dict[str, Any]
Inputs = dict[str, Any]

# Role of an input → what a row of it is called.
CORPORA: dict[str, Source] = {"new": "new", "original": "replay"}
CHECKPOINTS_PER_SAVE = 25


class Done(NamedTuple):
    """What has been measured: all rows so far, and the last checkpoint's weights."""

    n_checkpoints: int
    frames: Frames
    weights: Tensor | None

    def then(self, frames: Frames, weights: Tensor) -> Done:
        """Return this and one more checkpoint's rows, in one block per table."""
        joined = {
            name: pd.concat([self.frames[name], frame], ignore_index=True) if self.frames else frame
            for name, frame in frames.items()
        }
        return Done(self.n_checkpoints + 1, joined, weights.clone())


def build(spec: Spec, inputs: Inputs, out: Path) -> None:
    """Measure θ₀ and the run's checkpoints.

    spec: every, held_out_tokens, drift_tokens, checkpoints ("all" or "final") and `phases`, the
    spec of each train artifact in order; inputs: base, trains, new, original and, where a phase
    asks for them, questions. `checkpoint_step` 0 is θ₀.
    """
    base_step, base_folder = _base(inputs["base"], spec["phases"][0]["base_step"])
    model = load_causal_lm(base_folder)
    pieces = _pieces(spec, inputs, end_token=model.config.eos_token_id)
    visits = _visits(inputs["trains"], pieces)
    samples = [_sample(model, spec, inputs[role], corpus=role) for role in CORPORA]
    bench = make_bench(model, pieces, every=spec["every"], samples=samples)
    frames = _measure_all(bench, _checkpoints(spec, inputs["trains"]), out)
    frames["recall"] = with_live_losses(frames["recall"], visits)
    places = [(piece.position, piece.n_tokens) for piece in pieces]
    frames["pieces"] = first_and_last(visits, places)
    for name, frame in frames.items():
        frame.to_parquet(out / f"{name}.parquet", index=False)
    summary = {
        "base_step": base_step,
        "n_pieces": len(pieces),
        "n_pieces_measured": len(bench.pieces),
    }
    (out / "recall.json").write_text(json.dumps(summary, sort_keys=True, indent=1) + "\n", "utf-8")
    (out / "resume.pt").unlink(missing_ok=True)


def _base(folder: Path, step: int | str) -> tuple[int, Path]:
    listed = json.loads((folder / "base.json").read_text("utf-8"))
    name = listed["final"]
    for checkpoint in listed["checkpoints"]:
        if checkpoint["step"] == step:
            name = checkpoint["folder"]
    steps = {checkpoint["folder"]: checkpoint["step"] for checkpoint in listed["checkpoints"]}
    return int(steps[name]), folder / name


def _pieces(spec: Spec, inputs: Inputs, *, end_token: int) -> list[Piece]:
    """Return the pieces of all phases in the order of D, those with equal place and length once."""
    found: dict[tuple[int, int], Piece] = {}
    for train in spec["phases"]:
        if train["epoch"] > 0 or train["phase"]["kind"] != "train":
            continue
        stream = make_stream(
            _without_order(train["phase"]["stream"]),
            new=np.load(inputs["new"] / "train.npy", mmap_mode="r"),
            original=np.load(inputs["original"] / "train.npy", mmap_mode="r"),
            replay_fraction=train["phase"]["replay_fraction"],
            seed=train["seed"],
            questions=_questions(inputs),
            end_token=end_token,
        )
        found |= {(piece.position, piece.n_tokens): piece for piece in stream.pieces}
    return [found[place] for place in sorted(found)]


def _without_order(stream: Spec) -> Spec:
    """Drop the orders of training: they change no piece, and some need losses to sort by."""
    orders = ("order", "replay_order", "part")
    return {name: value for name, value in stream.items() if name not in orders}


def _questions(inputs: Inputs) -> list[tuple[list[int], list[int]]] | None:
    if "questions" not in inputs:
        return None
    table = pd.read_parquet(inputs["questions"] / "questions.parquet")
    return [(list(q), list(a)) for q, a in zip(table.question_ids, table.answer_ids, strict=True)]


def _visits(trains: list[Path], pieces: list[Piece]) -> pd.DataFrame:
    """Return each epoch's passes over pieces: piece, first_step, last_step and the live losses."""
    places = {(piece.position, piece.n_tokens): i for i, piece in enumerate(pieces)}
    visits = []
    for train in trains:
        passes = pd.read_parquet(train / "pieces.parquet").dropna(subset=["first_step"])
        live = pd.read_parquet(train / "live.parquet")
        for moment in ("before_first", "after_last"):
            losses = live[live.moment == moment].set_index("piece").loss_nats
            passes[moment] = passes.piece.map(losses)
        keys = zip(passes.position, passes.n_tokens, strict=True)
        visits.append(passes.assign(piece=[places[key] for key in keys]))
    return pd.concat(visits, ignore_index=True).astype({"first_step": int, "last_step": int})


def _sample(model: PreTrainedModel, spec: Spec, folder: Path, *, corpus: str) -> Sample:
    return make_sample(
        model,
        np.load(folder / "held_out.npy", mmap_mode="r"),
        pd.read_parquet(folder / "held_out_documents.parquet"),
        corpus=corpus,
        source=CORPORA[corpus],
        n_tokens=(spec["held_out_tokens"], spec["drift_tokens"]),
    )


def _checkpoints(spec: Spec, trains: list[Path]) -> list[tuple[int, Path]]:
    """Return the run's (cumulative step, folder), in order; the last one alone for "final"."""
    found: dict[int, Path] = {}
    for train in trains:
        phase = json.loads((train / "phase.json").read_text("utf-8"))
        found |= {kept["step"]: train / kept["folder"] for kept in phase["checkpoints"]}
    listed = sorted(found.items())
    return listed if spec["checkpoints"] == "all" else listed[-1:]


def _measure_all(bench: Bench, checkpoints: list[tuple[int, Path]], out: Path) -> Frames:
    """Measure θ₀ and each checkpoint, going on after those an earlier attempt has saved."""
    done = _saved(out)
    started, n_before, total = time.monotonic(), done.n_checkpoints, 1 + len(checkpoints)
    for step, folder in [(0, None), *checkpoints][n_before:]:
        if folder is not None:
            swap_weights(bench.model, folder)
        done = done.then(measure(bench, step, done.weights), bench.flat.weights)
        progress.step_done(done.n_checkpoints, total, "checkpoint")
        if done.n_checkpoints % CHECKPOINTS_PER_SAVE == 0:
            _save(out, done)
    n_tokens = bench.n_tokens * (total - n_before)
    progress.note(n_tokens=n_tokens, wall_seconds=time.monotonic() - started)
    return done.frames


def _saved(out: Path) -> Done:
    file = out / "resume.pt"
    return pickle.loads(file.read_bytes()) if file.is_file() else Done(0, {}, None)


def _save(out: Path, done: Done) -> None:
    temporary = out / "resume.pt.part"
    temporary.write_bytes(pickle.dumps(done))
    temporary.replace(out / "resume.pt")
