"""A model with prepared batches → its losses on every piece, on held-out text, drift and KL.

Everything that does not change from checkpoint to checkpoint is prepared once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from palimpsest.core.drift import base_log_probabilities, drift, kl_nats
from palimpsest.core.flat import FlatWeights
from palimpsest.core.held_out import sample_rows, tokens_per_byte
from palimpsest.core.losses import (
    Packed,
    count_tokens,
    micro_batch_tokens,
    pack,
    row_losses,
    token_losses,
)
from palimpsest.core.models import device
from palimpsest.core.rows import Piece, Row, Source

Frames = dict[str, pd.DataFrame]


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
    """The model, θ₀, and every batch that is measured; `pieces` are the measured ones' numbers."""

    model: PreTrainedModel
    flat: FlatWeights
    base_weights: Tensor
    pieces: list[int]
    packed: list[Packed]
    piece_of_row: NDArray[np.int64]
    rows: list[Row]
    samples: list[Sample]
    per_token: bool

    @property
    def n_tokens(self) -> int:
        """Targets of one checkpoint's forward passes."""
        sampled = sum(count_tokens(one.packed + one.kl_packed) for one in self.samples)
        return count_tokens(self.packed) + sampled


def make_bench(
    model: PreTrainedModel,
    pieces: Sequence[Piece],
    *,
    every: int,
    samples: list[Sample],
    per_token: bool = False,
) -> Bench:
    """Prepare the measurement of every `every`-th piece; the model holds θ₀ now.

    per_token: give the loss of every single token of the pieces too.
    """
    measured = list(range(0, len(pieces), every))
    rows = [row for i in measured for row in pieces[i].rows]
    owners = [place for place, i in enumerate(measured) for _ in pieces[i].rows]
    flat = FlatWeights(model)
    return Bench(
        model=model,
        flat=flat,
        base_weights=flat.weights.clone(),
        pieces=measured,
        packed=_pack(model, rows, pieces=True),
        piece_of_row=np.array(owners, dtype=np.int64),
        rows=rows,
        samples=samples,
        per_token=per_token,
    )


def make_sample(
    model: PreTrainedModel,
    tokens: NDArray[np.integer],
    documents: pd.DataFrame,
    *,
    corpus: str,
    source: Source,
    n_tokens: tuple[int, int],
) -> Sample:
    """Draw one corpus's rows, as long as the model's context, for losses and, fewer, for KL.

    n_tokens: how many for losses and how many for KL; the model holds θ₀ now.
    """
    (rows, domains), (kl_rows, _) = (
        sample_rows(
            tokens,
            documents,
            n_tokens=amount,
            sequence_length=model.config.max_position_embeddings,
            source=source,
        )
        for amount in n_tokens
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


def measure(bench: Bench, step: int, previous: Tensor | None) -> Frames:
    """Measure the weights now in the model: recall, held_out, drift and kl of one checkpoint.

    With `per_token` also tokens: piece, position of the token in its corpus, loss_nats.

    previous: the flat weights of the checkpoint before, None at the first.
    """
    base, segments = bench.base_weights, bench.flat.segments
    kl = [(one.corpus, kl_nats(bench.model, one.kl_packed, one.base)) for one in bench.samples]
    frames = {
        "recall": _piece_losses(bench),
        "held_out": pd.concat([_held_out(bench.model, one) for one in bench.samples]),
        "drift": drift(bench.flat.weights, base, segments, previous=previous),
        "kl": pd.DataFrame(kl, columns=["corpus", "kl_nats"]),
    }
    if bench.per_token:
        frames["tokens"] = _token_losses(bench)
    for frame in frames.values():
        frame.insert(0, "checkpoint_step", step)
    return frames


def _pack(model: PreTrainedModel, rows: list[Row], *, pieces: bool = False) -> list[Packed]:
    return pack(rows, max_tokens=micro_batch_tokens(model), device=device(), pieces=pieces)


def _piece_losses(bench: Bench) -> pd.DataFrame:
    sums, counts = row_losses(bench.model, bench.packed)
    n_pieces = len(bench.pieces)
    nats = np.bincount(bench.piece_of_row, sums, minlength=n_pieces)
    n_tokens = np.bincount(bench.piece_of_row, counts, minlength=n_pieces).astype(np.int64)
    losses = (nats / n_tokens).astype(np.float32)
    return pd.DataFrame({"piece": bench.pieces, "loss_nats": losses, "n_tokens": n_tokens})


def _token_losses(bench: Bench) -> pd.DataFrame:
    parts = []
    for place, losses in enumerate(token_losses(bench.model, bench.packed)):
        row = bench.rows[place]
        first = row.position + 1 + row.n_targets - len(losses)
        positions = np.arange(first, first + len(losses))
        piece = bench.pieces[bench.piece_of_row[place]]
        parts.append(pd.DataFrame({"piece": piece, "position": positions, "loss_nats": losses}))
    return pd.concat(parts, ignore_index=True)


def _held_out(model: PreTrainedModel, sample: Sample) -> pd.DataFrame:
    sums, counts = row_losses(model, sample.packed)
    rows = pd.DataFrame({"domain": sample.domains, "nats": sums, "n_tokens": counts})
    table = rows.groupby("domain", sort=True).sum().reset_index()
    losses = table.nats / table.n_tokens
    bits = losses / np.log(2) * table.domain.map(sample.tokens_per_byte)
    table = table.assign(corpus=sample.corpus, loss_nats=losses, bits_per_byte=bits)
    return table[["corpus", "domain", "loss_nats", "n_tokens", "bits_per_byte"]]
