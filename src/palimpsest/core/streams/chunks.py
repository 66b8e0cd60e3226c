"""Chunks: the new corpus cut into equal batches; a piece is the new part of one batch.

The last batch holds what is left. Where `batch_tokens` is no multiple of `sequence_length`, the
last row of every batch is the shorter one. Pieces are the same at every replay ratio.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import Field

from palimpsest.core.rows import Ints, Piece, Row
from palimpsest.core.streams.cutting import Part, Setup, used_part
from palimpsest.core.streams.settings import Ordered


class Settings(Ordered):
    """Settings of a `chunks` stream."""

    kind: Literal["chunks"]
    batch_tokens: int = Field(ge=1, description="new targets per batch; replay comes on top")


@dataclass(frozen=True)
class Chunks:
    """The used part of the new corpus as consecutive batches."""

    part: Part
    batch_tokens: int
    sequence_length: int

    @cached_property
    def n_targets(self) -> Ints:
        """Targets per batch: all `batch_tokens`, the last what is left."""
        starts = np.arange(0, self.part.n_targets, self.batch_tokens)
        return np.minimum(self.batch_tokens, self.part.n_targets - starts)

    def rows(self, batch: int) -> tuple[Row, ...]:
        """Return the rows of one batch, the last one possibly shorter."""
        first = batch * self.batch_tokens
        stop = min(first + self.batch_tokens, self.part.n_targets)
        return tuple(
            self.part.row(start, min(start + self.sequence_length, stop), piece=batch)
            for start in range(first, stop, self.sequence_length)
        )

    def pieces(self) -> tuple[Piece, ...]:
        """Return one piece per batch; it begins one token after its first row, at its target."""
        return tuple(
            Piece(
                piece=batch,
                position=self.part.position + batch * self.batch_tokens + 1,
                n_tokens=int(n_tokens),
                rows=self.rows(batch),
            )
            for batch, n_tokens in enumerate(self.n_targets)
        )

    def batches_of(self, piece: int) -> range:
        """Return the one batch that is the piece."""
        return range(piece, piece + 1)


def cut(settings: Settings, setup: Setup) -> Chunks:
    """Cut the new corpus at the seed's offset into batches."""
    part = used_part(
        setup, sequence_length=settings.sequence_length, n_new_tokens=settings.n_new_tokens
    )
    return Chunks(part, settings.batch_tokens, settings.sequence_length)
