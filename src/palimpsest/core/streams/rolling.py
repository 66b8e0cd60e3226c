"""Rolling: a window moved over the new corpus by a stride, one window per batch.

Batch k is the window of targets k·stride … k·stride + window − 1 of the used part. The last one is
cut at the end of the corpus, and a corpus shorter than a window is one batch. All of a window is
trained on. The piece of a batch is its last `stride` targets, with the window before them as
context; of the last, cut window it is what no window before it held. The start of the first
window is context only and no piece, so that pieces are equally long and alike in their context.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from palimpsest.core.rows import Ints, Piece, Row
from palimpsest.core.streams.cutting import Part, Setup, used_part
from palimpsest.core.streams.settings import Ordered
from palimpsest.faults import Fault

ROUNDING = 1e-9  # (1 − 0.9)·10 is 0.9999999999999998 and means 1


class Settings(Ordered):
    """Settings of a `rolling` stream: `window` and `stride`, or `max_tokens` and a fraction."""

    kind: Literal["rolling"]
    window: int | None = Field(None, ge=1, description="targets per window")
    stride: int | None = Field(
        None, ge=1, description="targets by which the window moves, at most `window`"
    )
    max_tokens: int | None = Field(
        None,
        ge=1,
        description="targets per batch with its replay, instead of `window`: the window is"
        " (1 − replay_fraction)·max_tokens, rounded down (all of it at a ratio of 1)",
    )
    stride_fraction: float | None = Field(
        None, gt=0, le=1, description="share of the window by which it moves, with `max_tokens`"
    )
    beyond_context: Literal["split", "extrapolate"] | None = Field(
        None,
        description="a window longer than the model's context: split into rows that fit, or fed"
        " whole; null refuses it",
    )

    @model_validator(mode="after")
    def _one_way_to_give_the_window(self) -> Self:
        absolute = (self.window, self.stride)
        fractions = (self.max_tokens, self.stride_fraction)
        if None in absolute and absolute != (None, None):
            raise ValueError("window and stride go together")
        if None in fractions and fractions != (None, None):
            raise ValueError("max_tokens and stride_fraction go together")
        if (self.window is None) == (self.max_tokens is None):
            raise ValueError("give either window and stride, or max_tokens and stride_fraction")
        if self.window is not None and self.stride is not None and self.stride > self.window:
            raise ValueError("a stride beyond the window would leave tokens out")
        return self


@dataclass(frozen=True)
class Rolling:
    """The windows over the used part; rows longer than `row_tokens` are split."""

    part: Part
    window: int
    stride: int
    row_tokens: int

    @cached_property
    def n_targets(self) -> Ints:
        """Targets per window: all `window`, the last what is left."""
        n_windows = 1 + max(0, -(-(self.part.n_targets - self.window) // self.stride))
        starts = np.arange(n_windows) * self.stride
        return np.minimum(self.window, self.part.n_targets - starts)

    def rows(self, batch: int) -> tuple[Row, ...]:
        """Return the window as one row, or split from its end, so that the piece keeps context."""
        start, counted, stop = self._span(batch)
        stops = range(stop, start, -self.row_tokens)
        spans = [(max(start, row_stop - self.row_tokens), row_stop) for row_stop in stops]
        return tuple(
            self.part.row(a, b, piece=batch, n_context=min(max(counted - a, 0), b - a))
            for a, b in reversed(spans)
        )

    def pieces(self) -> tuple[Piece, ...]:
        """Return one piece per window, in rows that hold at least one of its targets."""
        return tuple(self._piece(batch) for batch in range(len(self.n_targets)))

    def batches_of(self, piece: int) -> range:
        """Return the windows that hold targets of the piece: its own and those that follow it."""
        _, _, stop = self._span(piece)
        return range(piece, min((stop - 1) // self.stride + 1, len(self.n_targets)))

    def _piece(self, batch: int) -> Piece:
        _, counted, stop = self._span(batch)
        return Piece(
            piece=batch,
            position=self.part.position + counted + 1,
            n_tokens=stop - counted,
            rows=tuple(row for row in self.rows(batch) if row.n_context < row.n_targets),
        )

    def _span(self, batch: int) -> tuple[int, int, int]:
        """Return the window's first target, the first that counts for the piece, and its end."""
        start = batch * self.stride
        n_context = max(0, min(self.window, self.part.n_targets) - self.stride)
        return start, start + n_context, min(start + self.window, self.part.n_targets)


def cut(settings: Settings, setup: Setup) -> Rolling:
    """Cut the new corpus at the seed's offset and lay the windows over it."""
    window, stride = _window(settings, ratio=setup.ratio)
    part = used_part(
        setup, sequence_length=settings.sequence_length, n_new_tokens=settings.n_new_tokens
    )
    limit = setup.context_length
    if limit is None or window <= limit or settings.beyond_context == "extrapolate":
        return Rolling(part, window, stride, row_tokens=window)
    if settings.beyond_context == "split":
        return Rolling(part, window, stride, row_tokens=limit)
    raise Fault(
        f"stream rolling: a window of {window} is beyond the model's context of {limit}:"
        " lower it, or set beyond_context to split or extrapolate"
    )


def _window(settings: Settings, *, ratio: tuple[float, float]) -> tuple[int, int]:
    """Return window and stride in targets."""
    if settings.window is not None and settings.stride is not None:
        return settings.window, settings.stride
    assert settings.max_tokens is not None and settings.stride_fraction is not None
    if ratio[0] != ratio[1]:
        raise Fault(
            "stream rolling: max_tokens sets the window by one replay ratio, this one changes:"
            " give window and stride"
        )
    share = 1.0 if ratio[0] == 1 else 1 - ratio[0]
    window = int(share * settings.max_tokens + ROUNDING)
    if window < 1:
        raise Fault(
            f"stream rolling: max_tokens {settings.max_tokens} leaves no window at a replay ratio"
            f" of {ratio[0]}: raise it"
        )
    return window, max(1, round(settings.stride_fraction * window))
