"""A stream and a model on its way → the loss of each piece just before and after its training.

Measured where it happens, so that no checkpoint has to be kept for it: by `losses.row_losses`,
without replay; of a batch that is repeated, after every repeat. A visit is one round's training on
a piece: all of an epoch's, unless the order is cyclic. Steps count the updates of one epoch.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from palimpsest.core.course import Progress, Trainee
from palimpsest.core.losses import row_losses
from palimpsest.core.rows import Piece
from palimpsest.core.streams import Stream

COLUMNS = ("moment", "step", "piece", "visit", "repeat", "loss_nats", "n_tokens")
DTYPES = {"piece": np.int64, "visit": np.int64, "loss_nats": np.float64}  # of empty tables too


class Moment(NamedTuple):
    """A piece to measure; `repeat` counts how often this visit has trained on it, from 0."""

    name: str
    piece: Piece
    visit: int
    repeat: int


class Live:
    """Knows after which updates which pieces are due."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.visits = {piece.piece: _visits(stream, piece.piece) for piece in stream.pieces}
        self._due: dict[int, list[Moment]] = defaultdict(list)
        for piece in stream.pieces:
            for visit, steps in enumerate(self.visits[piece.piece]):
                self._due[steps[0]].append(Moment("before_first", piece, visit, 0))
                for repeat, step in enumerate(steps):
                    name = "after_last" if step == steps[-1] else "after_repeat"
                    self._due[step + 1].append(Moment(name, piece, visit, repeat))

    def measure(self, trainee: Trainee, progress: Progress) -> None:
        """Append the losses that are due after `progress.n_steps` updates to `progress.live`.

        In a phase that ends early, the pieces of its very last update have had their last step too.
        """
        moments = self._due[progress.n_steps]
        if progress.stop_reason is not None:
            moments = [moment for moment in moments if moment.name == "after_last"]
            moments += self._cut_short(progress.n_steps)
        if not moments:
            return
        rows = [row for moment in moments for row in moment.piece.rows]
        sums, counts = row_losses(trainee.model, trainee.pack(rows, pieces=True))
        start = 0
        for moment in moments:
            stop = start + len(moment.piece.rows)
            nats, n_tokens = sums[start:stop].sum(), counts[start:stop].sum()
            progress.live.append(_row(moment, progress.step, nats=nats, n_tokens=n_tokens))
            start = stop

    def frame(self, progress: Progress) -> pd.DataFrame:
        """Return the losses around the visits that were begun, in the order of measurement."""
        rows = [
            row
            for row in progress.live
            if self.visits[row["piece"]][row["visit"]][0] < progress.n_steps
        ]
        return live_frame(rows)

    def pieces(self, progress: Progress) -> pd.DataFrame:
        """Return the visits with their first and last update in the run; null: not trained on."""
        rows: list[tuple[int | None, ...]] = []
        for piece in self.stream.pieces:
            for visit, steps in enumerate(self.visits[piece.piece] or [[]]):
                taken = [
                    progress.first_step + step + 1 for step in steps if step < progress.n_steps
                ]
                ends = (taken[0], taken[-1]) if taken else (None, None)
                rows.append((piece.piece, visit, piece.position, piece.n_tokens, *ends))
        return pieces_frame(rows)

    def _cut_short(self, n_steps: int) -> list[Moment]:
        """Return the pieces whose visit was under way in the very last update."""
        return [
            Moment("after_last", piece, visit, steps.index(n_steps - 1))
            for piece in self.stream.pieces
            for visit, steps in enumerate(self.visits[piece.piece])
            if n_steps - 1 in steps[:-1]
        ]


def live_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return losses at moments as a table."""
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(DTYPES)


def pieces_frame(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """Return visits to pieces and the steps of their training as a table."""
    counts = dict.fromkeys(("piece", "visit", "position", "n_tokens"), "int64")
    frame = pd.DataFrame(rows, columns=[*counts, "first_step", "last_step"])
    return frame.astype({**counts, "first_step": "Int64", "last_step": "Int64"})


def _visits(stream: Stream, piece: int) -> list[list[int]]:
    """Return the updates on a piece, round by round; a round trains on each batch at most once."""
    steps = stream.steps_of(piece)
    if not steps:
        return []
    n_rounds = int(np.bincount(stream.sequence).max())
    rounds = np.asarray(steps) // (stream.n_steps // n_rounds)
    return [np.asarray(steps)[rounds == number].tolist() for number in np.unique(rounds)]


def _row(moment: Moment, step: int, *, nats: float, n_tokens: int) -> dict[str, Any]:
    return {
        "moment": moment.name,
        "step": step,
        "piece": moment.piece.piece,
        "visit": moment.visit,
        "repeat": moment.repeat,
        "loss_nats": float(nats / n_tokens),
        "n_tokens": int(n_tokens),
    }
