"""Questions: every batch holds all questions with their answers; each question is a piece.

A row is the question, the answer and, where one is given, the end token, by which the model
learns to stop. All of a row is trained on, as in continued pretraining; measured are the answer
and the end token, the question being their context.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import Field

from palimpsest.core.rows import Ints, Piece, Row
from palimpsest.core.streams.cutting import Setup
from palimpsest.core.streams.settings import Replayed
from palimpsest.faults import Fault


class Settings(Replayed):
    """Settings of a `questions` stream."""

    kind: Literal["questions"]
    n_batches: int = Field(
        ge=1, description="batches in one epoch: all questions each time, with replay of its own"
    )


@dataclass(frozen=True)
class Questions:
    """All questions, `n_batches` times."""

    all_rows: tuple[Row, ...]
    n_batches: int

    @cached_property
    def n_targets(self) -> Ints:
        """Targets per batch, the same for all."""
        return np.full(self.n_batches, sum(row.n_targets for row in self.all_rows))

    def rows(self, batch: int) -> tuple[Row, ...]:
        """Return all questions, whichever batch it is."""
        return self.all_rows

    def pieces(self) -> tuple[Piece, ...]:
        """Return one piece per question; its position is the question's number."""
        return tuple(
            Piece(row.piece, row.position, row.n_targets - row.n_context, (row,))
            for row in self.all_rows
        )

    def batches_of(self, piece: int) -> range:
        """Return all batches."""
        return range(self.n_batches)


def cut(settings: Settings, setup: Setup) -> Questions:
    """Turn the questions into rows."""
    if not setup.questions:
        raise Fault("stream questions: no questions were given")
    end = [] if setup.end_token is None else [setup.end_token]
    rows = tuple(
        _row(number, question, [*answer, *end])
        for number, (question, answer) in enumerate(setup.questions)
    )
    longest = max(row.n_targets for row in rows)
    if setup.context_length is not None and longest > setup.context_length:
        raise Fault(
            f"stream questions: the longest question has {longest} targets, the model's context"
            f" is {setup.context_length}: shorten it"
        )
    return Questions(rows, settings.n_batches)


def _row(number: int, question: Sequence[int], answer: Sequence[int]) -> Row:
    """Return question and answer as one row; the question's own targets are context."""
    if len(question) == 0 or len(answer) == 0:
        raise Fault(f"stream questions: question {number} or its answer has no tokens")
    tokens = np.array([*question, *answer], dtype=np.int64)
    tokens.flags.writeable = False
    return Row(tokens, "question", number, piece=number, n_context=len(question) - 1)
