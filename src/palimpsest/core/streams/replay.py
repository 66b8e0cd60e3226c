"""Replay: from a ratio and the new tokens of each update to rows of the original corpus.

The draw is one endless sequence of targets: the original corpus cut from its first token into
rows of `sequence_length` (an incomplete last row is left out), shuffled by the seed, one row after
the other. Updates take it from the front, so each row comes once and the draw of a smaller ratio
is a prefix of a larger one's. A batch ends wherever its count ends: its last row is cut, and the
rest of that row opens the next batch. When all rows have been drawn, another shuffle of them
follows: without replacement within a round. Further epochs go on where the one before ended.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from palimpsest.core.rows import Ints, Row
from palimpsest.core.streams.orders import Difficulty, arrange, check_difficulty
from palimpsest.core.streams.settings import Replayed
from palimpsest.core.validation import parse
from palimpsest.faults import Fault

DRAW = 2  # keeps the draw apart from the shuffle of the new batches under the same seed


class Ramp(BaseModel):
    """A replay ratio that changes linearly from the first to the last update of a phase."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: float = Field(ge=0, lt=1, description="replay ratio of the phase's first update")
    end: float = Field(ge=0, lt=1, description="replay ratio of the phase's last update")


@dataclass(frozen=True, eq=False)
class Replay:
    """What one epoch replays.

    positions: first token of each fragment, in training order; ends: where each fragment ends in
    the epoch's draw; begins: where each batch starts in it; counts: targets of each update, of
    shape (batches, repeats).
    """

    original: NDArray[np.integer] | None
    positions: Ints
    ends: Ints
    begins: Ints
    counts: Ints

    def rows(self, batch: int, *, repeat: int) -> tuple[Row, ...]:
        """Return the replayed rows of one update; the repeats of a batch start at one place."""
        begin = int(self.begins[batch])
        stop = begin + int(self.counts[batch, repeat])
        rows = []
        fragment = int(np.searchsorted(self.ends, begin, side="right"))
        while begin < stop:
            end = int(self.ends[fragment])
            rows.append(self._row(fragment, begin=begin, stop=min(end, stop)))
            begin, fragment = end, fragment + 1
        return tuple(rows)

    def _row(self, fragment: int, *, begin: int, stop: int) -> Row:
        """Return the targets begin … stop − 1 of the epoch's draw, which lie in this fragment."""
        assert self.original is not None
        fragment_begin = int(self.ends[fragment - 1]) if fragment else 0
        first = int(self.positions[fragment]) + begin - fragment_begin
        tokens = np.array(self.original[first : first + stop - begin + 1], dtype=np.int64)
        return Row(tokens, "replay", first, piece=-1)


def read_ratio(replay_fraction: float | dict) -> tuple[float, float]:
    """Return the ratio at both ends of the phase."""
    if isinstance(replay_fraction, dict):
        ramp = parse(Ramp, replay_fraction, "replay_fraction")
        return ramp.start, ramp.end
    if not 0 <= replay_fraction <= 1:
        raise Fault(f"replay_fraction: {replay_fraction} is no share of tokens: give 0 … 1")
    return float(replay_fraction), float(replay_fraction)


def draw(
    settings: Replayed,
    original: NDArray[np.integer] | None,
    *,
    counts: Ints,
    difficulty: Difficulty | None,
    seed: int,
) -> Replay:
    """Draw what the last of the epochs in `counts` replays.

    counts: targets per update, of shape (epochs, batches, repeats). difficulty: the base's loss
    for each row of the original corpus, needed by the orders that go by it.
    """
    widths = counts.max(axis=2)
    rounds = settings.replay_cycles if settings.replay_order == "cyclic" else 1
    taken = -(-widths.sum(axis=1) // rounds)
    begins = np.cumsum(widths[-1]) - widths[-1]
    if not counts.any():
        nothing = np.zeros(0, dtype=np.int64)
        return Replay(None, nothing, nothing, begins, counts[-1])
    n_rows = _count_rows(original, sequence_length=settings.sequence_length)
    positions, lengths = _fragments(
        start=int(taken[:-1].sum()),
        stop=int(taken.sum()),
        n_rows=n_rows,
        sequence_length=settings.sequence_length,
        seed=seed,
    )
    order = _fragment_order(settings, positions, difficulty=difficulty, n_rows=n_rows)
    order = np.tile(order, rounds)
    return Replay(original, positions[order], np.cumsum(lengths[order]), begins, counts[-1])


def replay_counts(ratio: tuple[float, float], *, n_new_tokens: Ints, n_phase_steps: int) -> Ints:
    """Return the targets to replay in each update, given the new targets of each.

    Each is what brings the rounded running sum up to date, so that the sum of r/(1−r)·new is met
    to half a token after every update. At r = 1 it is what the new part would have been.
    """
    start, end = ratio
    if start == 1:
        return n_new_tokens
    progress = np.arange(len(n_new_tokens)) / max(1, n_phase_steps - 1)
    fraction = start + (end - start) * progress
    owed = np.cumsum(fraction / (1 - fraction) * n_new_tokens)
    return np.diff(np.rint(owed), prepend=0).astype(np.int64)


def original_rows(original: NDArray[np.integer], *, sequence_length: int) -> tuple[Row, ...]:
    """Return all rows that replay draws from, in time order: what a difficulty is measured on."""
    n_rows = _count_rows(original, sequence_length=sequence_length)
    return tuple(
        Row(np.array(original[p : p + sequence_length + 1], dtype=np.int64), "replay", p, piece=-1)
        for p in range(0, n_rows * sequence_length, sequence_length)
    )


def _count_rows(original: NDArray[np.integer] | None, *, sequence_length: int) -> int:
    """Return how many complete rows the original corpus has; a Fault if none."""
    n_tokens = 0 if original is None else len(original)
    if n_tokens <= sequence_length:
        raise Fault(
            f"stream: the original corpus has {n_tokens} tokens, one row of sequence_length"
            f" {sequence_length} needs {sequence_length + 1}: shorten it or replay nothing"
        )
    return (n_tokens - 1) // sequence_length


def _fragments(
    *, start: int, stop: int, n_rows: int, sequence_length: int, seed: int
) -> tuple[Ints, Ints]:
    """Return positions and lengths of the rows, or parts of rows, at start … stop of the draw."""
    slots = np.arange(start // sequence_length, -(-stop // sequence_length))
    rounds = range(int(slots[0]) // n_rows, int(slots[-1]) // n_rows + 1)
    shuffled = np.concatenate(
        [np.random.default_rng([seed, DRAW, number]).permutation(n_rows) for number in rounds]
    )
    begins = np.maximum(slots * sequence_length, start)
    ends = np.minimum((slots + 1) * sequence_length, stop)
    rows = shuffled[slots - rounds[0] * n_rows]
    return rows * sequence_length + begins - slots * sequence_length, ends - begins


def _fragment_order(
    settings: Replayed, positions: Ints, *, difficulty: Difficulty | None, n_rows: int
) -> Ints:
    """Return the order in which the epoch takes the fragments it has drawn."""
    if settings.replay_order == "shuffled":
        return np.arange(len(positions))
    in_time = np.argsort(positions, kind="stable")
    drawn_difficulty = None
    if settings.replay_order in ("easy-first", "hard-first"):
        check_difficulty(difficulty, n=n_rows, what="row of the original corpus")
        drawn_difficulty = np.asarray(difficulty)[positions[in_time] // settings.sequence_length]
    return in_time[arrange(settings.replay_order, n=len(positions), difficulty=drawn_difficulty)]
