"""A run's checkpoints → the loss on every piece, held-out losses, drift and KL, as tidy tables.

One process builds the model and its batches once and swaps weights in place.
"""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from palimpsest import progress
from palimpsest.core.drift import base_log_probabilities, drift, kl_nats
from palimpsest.core.flat import FlatWeights
from palimpsest.core.held_out import sample_rows, tokens_per_byte
from palimpsest.core.losses import Packed, count_tokens, micro_batch_tokens, pack, row_losses
from palimpsest.core.models import device, load_causal_lm
from palimpsest.core.streams import make_stream
from palimpsest.core.streams.rows import Piece, Row, Source
from palimpsest.core.swap import swap_weights
from palimpsest.core.visits import first_and_last, with_live_losses

Spec = dict[str, Any]
Inputs = dict[str, Any]
Frames = dict[str, pd.DataFrame]

# Role of an input → what a row of it is called.
CORPORA: dict[str, Source] = {"new": "new", "original": "replay"}
CHECKPOINTS_PER_SAVE = 25
TABLES = ("recall", "held_out", "drift", "kl")


@dataclass(frozen=True)
class Sample:
    """A fixed sample of one held-out corpus; `base` holds θ₀'s log-probabilities on `kl_packed`."""

    corpus: str
    packed: list[Packed]
    domains: list[str]
    tokens_per_byte: dict[str, float]
    kl_packed: list[Packed]
    base: list[Tensor]


@dataclass(frozen=True)
class Bench:
    """All that is prepared once: the model, its base weights and every batch."""

    model: PreTrainedModel
    flat: FlatWeights
    base_weights: Tensor
    pieces: list[int]
    packed: list[Packed]
    piece_of_row: NDArray[np.int64]
    samples: list[Sample]


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
    bench = _prepare(model, spec, inputs, pieces=pieces[:: spec["every"]])
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
        if train["epoch"] > 0:
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
    return {name: value for name, value in stream.items() if name not in ("order", "replay_order")}


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


def _prepare(model: PreTrainedModel, spec: Spec, inputs: Inputs, *, pieces: list[Piece]) -> Bench:
    flat = FlatWeights(model)
    rows = [row for piece in pieces for row in piece.rows]
    owners = [i for i, piece in enumerate(pieces) for _ in piece.rows]
    return Bench(
        model=model,
        flat=flat,
        base_weights=flat.weights.clone(),
        pieces=[i * spec["every"] for i in range(len(pieces))],
        packed=_pack(model, rows, pieces=True),
        piece_of_row=np.array(owners, dtype=np.int64),
        samples=[_sample(model, spec, inputs[role], corpus=role) for role in CORPORA],
    )


def _sample(model: PreTrainedModel, spec: Spec, folder: Path, *, corpus: str) -> Sample:
    tokens = np.load(folder / "held_out.npy", mmap_mode="r")
    documents = pd.read_parquet(folder / "held_out_documents.parquet")
    (rows, domains), (kl_rows, _) = (
        sample_rows(
            tokens,
            documents,
            n_tokens=spec[amount],
            sequence_length=model.config.max_position_embeddings,
            source=CORPORA[corpus],
        )
        for amount in ("held_out_tokens", "drift_tokens")
    )
    kl_packed = _pack(model, kl_rows)
    return Sample(
        corpus=corpus,
        packed=_pack(model, rows),
        domains=domains,
        tokens_per_byte=tokens_per_byte(documents),
        kl_packed=kl_packed,
        base=base_log_probabilities(model, kl_packed),
    )


def _pack(model: PreTrainedModel, rows: list[Row], *, pieces: bool = False) -> list[Packed]:
    return pack(rows, max_tokens=micro_batch_tokens(model), device=device(), pieces=pieces)


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
    done, previous = _saved(out)
    started, total = time.monotonic(), 1 + len(checkpoints)
    todo = [(0, None), *checkpoints][len(done) :]
    for step, folder in todo:
        if folder is not None:
            swap_weights(bench.model, folder)
        done.append(_measure(bench, step, previous))
        previous = bench.flat.weights.clone()
        progress.step_done(len(done), total, "checkpoint")
        if len(done) % CHECKPOINTS_PER_SAVE == 0:
            _save(out, (done, previous))
    n_tokens = sum(count_tokens(packed) for packed in _all_packed(bench)) * len(todo)
    progress.note(n_tokens=n_tokens, wall_seconds=time.monotonic() - started)
    return {name: pd.concat([one[name] for one in done], ignore_index=True) for name in TABLES}


def _measure(bench: Bench, step: int, previous: Tensor | None) -> Frames:
    moved = drift(bench.flat.weights, bench.base_weights, bench.flat.segments, previous=previous)
    frames = {
        "recall": _piece_losses(bench),
        "held_out": pd.concat([_held_out(bench, sample) for sample in bench.samples]),
        "drift": moved,
        "kl": pd.DataFrame(
            {"corpus": one.corpus, "kl_nats": kl_nats(bench.model, one.kl_packed, one.base)}
            for one in bench.samples
        ),
    }
    for frame in frames.values():
        frame.insert(0, "checkpoint_step", step)
    return frames


def _piece_losses(bench: Bench) -> pd.DataFrame:
    sums, counts = row_losses(bench.model, bench.packed)
    n_pieces = len(bench.pieces)
    nats = np.bincount(bench.piece_of_row, sums, minlength=n_pieces)
    n_tokens = np.bincount(bench.piece_of_row, counts, minlength=n_pieces).astype(np.int64)
    losses = (nats / n_tokens).astype(np.float32)
    return pd.DataFrame({"piece": bench.pieces, "loss_nats": losses, "n_tokens": n_tokens})


def _held_out(bench: Bench, sample: Sample) -> pd.DataFrame:
    sums, counts = row_losses(bench.model, sample.packed)
    rows = pd.DataFrame({"domain": sample.domains, "nats": sums, "n_tokens": counts})
    table = rows.groupby("domain", sort=True).sum().reset_index()
    losses = table.nats / table.n_tokens
    bits = losses / np.log(2) * table.domain.map(sample.tokens_per_byte)
    table = table.assign(corpus=sample.corpus, loss_nats=losses, bits_per_byte=bits)
    return table[["corpus", "domain", "loss_nats", "n_tokens", "bits_per_byte"]]


def _all_packed(bench: Bench) -> Iterable[list[Packed]]:
    yield bench.packed
    for sample in bench.samples:
        yield from (sample.packed, sample.kl_packed)


def _saved(out: Path) -> tuple[list[Frames], Tensor | None]:
    file = out / "resume.pt"
    return pickle.loads(file.read_bytes()) if file.is_file() else ([], None)


def _save(out: Path, state: tuple[list[Frames], Tensor]) -> None:
    temporary = out / "resume.pt.part"
    temporary.write_bytes(pickle.dumps(state))
    temporary.replace(out / "resume.pt")
