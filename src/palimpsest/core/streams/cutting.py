"""What kinds of stream share when they cut the new corpus into rows, batches and pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from palimpsest.core.rows import Ints, Piece, Row
from palimpsest.faults import Fault


class Cut(Protocol):
    """How one kind of stream cuts its new part into batches and pieces, both in time order."""

    @property
    def n_targets(self) -> Ints:
        """Targets per batch, one number for each batch of one pass."""

    def rows(self, batch: int) -> tuple[Row, ...]:
        """Return the rows that an update on this batch trains on."""

    def pieces(self) -> tuple[Piece, ...]:
        """Return all pieces."""

    def batches_of(self, piece: int) -> range:
        """Return the batches that hold at least one counted token of the piece."""


@dataclass(frozen=True)
class Setup:
    """What a kind may need besides its settings; `ratio` holds the replay ratio's two ends."""

    new: NDArray[np.integer] | None
    questions: Sequence[tuple[Sequence[int], Sequence[int]]] | None
    end_token: int | None
    context_length: int | None
    seed: int
    ratio: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Part:
    """The stretch of the new corpus that a run uses; `position` is its first token's index."""

    tokens: Ints
    position: int

    @property
    def n_targets(self) -> int:
        """How many targets the stretch has."""
        return len(self.tokens) - 1

    def row(self, start: int, stop: int, *, piece: int, n_context: int = 0) -> Row:
        """Return the row of targets start … stop − 1 of the stretch, without copying."""
        tokens = self.tokens[start : stop + 1]
        return Row(tokens, "new", self.position + start, piece, n_context)


def used_part(setup: Setup, *, sequence_length: int, n_new_tokens: int | None) -> Part:
    """Cut the new corpus at the seed's offset; None takes all that follows.

    What may be asked for does not depend on the seed: at most what the largest offset leaves.
    """
    if setup.new is None:
        raise Fault("stream: this kind trains on the new corpus, and none was given")
    n_tokens = len(setup.new)
    n_at_every_seed = n_tokens - sequence_length
    if n_at_every_seed < 1:
        raise Fault(
            f"stream: the new corpus has {n_tokens} tokens, one row of sequence_length"
            f" {sequence_length} needs {sequence_length + 1}: shorten sequence_length"
        )
    if n_new_tokens is not None and n_new_tokens > n_at_every_seed:
        raise Fault(
            f"stream: n_new_tokens {n_new_tokens} is more than the {n_at_every_seed} that every"
            f" seed's offset leaves of the new corpus ({n_tokens} tokens): lower it"
        )
    offset = cut_offset(setup.seed, sequence_length=sequence_length)
    stop = n_tokens if n_new_tokens is None else offset + n_new_tokens + 1
    tokens = np.array(setup.new[offset:stop], dtype=np.int64)
    tokens.flags.writeable = False
    return Part(tokens, offset)


def cut_offset(seed: int, *, sequence_length: int) -> int:
    """Return where the new corpus is cut, 0 … sequence_length − 1.

    Taken from one fixed shuffle of these numbers, so that seeds less than sequence_length apart
    never share an offset and differ even without replay.
    """
    shuffled = np.random.default_rng(sequence_length).permutation(sequence_length)
    return int(shuffled[seed % sequence_length])
