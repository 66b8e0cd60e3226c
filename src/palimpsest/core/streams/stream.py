"""A stream: from the number of an update to the batch it trains on, and back from a piece."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from palimpsest.core.rows import Batch, Ints, Piece
from palimpsest.core.streams.cutting import Cut
from palimpsest.core.streams.replay import Replay


@dataclass(frozen=True, eq=False)
class Stream:
    """The updates of one epoch; `sequence` names the batch (in time order) of each place."""

    cut: Cut
    sequence: Ints
    repeats: int
    replay: Replay
    pure_replay: bool

    @property
    def n_steps(self) -> int:
        """Updates in one epoch."""
        return len(self.sequence) * self.repeats

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """All pieces in time order, the same in every epoch, order and at every replay ratio."""
        return self.cut.pieces()

    def batch(self, step: int) -> Batch:
        """Return what update `step` (0-based in the epoch) trains on, whatever was asked before."""
        if not 0 <= step < self.n_steps:
            raise IndexError(f"step {step} lies outside the epoch's {self.n_steps} updates")
        place, repeat = divmod(step, self.repeats)
        new = () if self.pure_replay else self.cut.rows(int(self.sequence[place]))
        return Batch(new=new, replay=self.replay.rows(place, repeat=repeat))

    def steps_of(self, piece: int) -> list[int]:
        """Return the updates that train on the piece, in order; none in a pure-replay run."""
        if self.pure_replay:
            return []
        batches = self.cut.batches_of(piece)
        places = np.sort(np.concatenate([self._places[batch] for batch in batches]))
        steps = places[:, None] * self.repeats + np.arange(self.repeats)
        return [int(step) for step in steps.ravel()]

    @cached_property
    def _places(self) -> list[Ints]:
        """Where each batch stands in the sequence; nowhere, if the phase leaves it out."""
        by_batch = np.argsort(self.sequence, kind="stable")
        counts = np.bincount(self.sequence, minlength=len(self.cut.n_targets))
        return np.split(by_batch, np.cumsum(counts)[:-1])
