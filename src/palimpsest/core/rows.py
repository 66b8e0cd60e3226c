"""Rows of tokens, the batches that an update trains on, and the pieces whose loss is followed.

All numbers of tokens are targets: a row of n targets is n + 1 tokens, and rows that follow each
other in a corpus share one token, so that every token but the very first is a target once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Source = Literal["new", "replay", "question"]


@dataclass(frozen=True, eq=False)
class Row:
    """One sequence to train on or to measure.

    tokens: int64, n_targets + 1 long, not to be written to. position: index of its first token in
    its corpus (for a question: the number of the question). piece: -1 for replay. n_context: how
    many of the leading targets are trained on but left out when the piece is measured.
    """

    tokens: Ints
    source: Source
    position: int
    piece: int
    n_context: int = 0

    @property
    def n_targets(self) -> int:
        """How many tokens the row predicts."""
        return len(self.tokens) - 1


@dataclass(frozen=True, eq=False)
class Batch:
    """What one update trains on; the new part is empty in a pure-replay run."""

    new: tuple[Row, ...]
    replay: tuple[Row, ...]

    @property
    def n_new_tokens(self) -> int:
        """Targets of the new part, context included."""
        return sum(row.n_targets for row in self.new)

    @property
    def n_replay_tokens(self) -> int:
        """Targets of the replayed part."""
        return sum(row.n_targets for row in self.replay)


@dataclass(frozen=True, eq=False)
class Piece:
    """A fixed span of the new corpus whose loss is followed through the run.

    position: index in the corpus of its first token that counts. n_tokens: targets that count.
    rows: what is measured, never replay; targets before `n_context` of a row do not count.
    """

    piece: int
    position: int
    n_tokens: int
    rows: tuple[Row, ...]
