"""A stream and a model on its way → the loss of each piece just before and just after its training.

Measured where it happens, so that no checkpoint has to be kept for it: by `losses.row_losses`,
without replay. Steps count the updates of one epoch.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

import pandas as pd

from palimpsest.core.course import Progress, Trainee
from palimpsest.core.losses import row_losses
from palimpsest.core.rows import Piece
from palimpsest.core.streams import Stream

COLUMNS = ("moment", "step", "piece", "repeat", "loss_nats", "n_tokens")


class Moment(NamedTuple):
    """A piece to measure; `repeat` counts how often it has been trained on, from 0."""

    name: str
    piece: Piece
    repeat: int


class Live:
    """Knows after which updates which pieces are due."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.steps = {piece.piece: stream.steps_of(piece.piece) for piece in stream.pieces}
        self._due: dict[int, list[Moment]] = defaultdict(list)
        for piece in stream.pieces:
            steps = self.steps[piece.piece]
            if steps:
                self._due[steps[-1] + 1].append(Moment("after_last", piece, len(steps) - 1))
                self._due[steps[0]].append(Moment("before_first", piece, 0))

    def measure(self, trainee: Trainee, progress: Progress) -> None:
        """Append the losses that are due after `progress.n_steps` updates to `progress.live`.

        In a phase that ends early, the pieces of its very last update have had their last step too;
        a piece that would have come round again later has no loss "after its last step".
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
        """Return the losses of the pieces that were trained on, in the order of measurement."""
        begun = {piece for piece, steps in self.steps.items() if steps[:1] < [progress.n_steps]}
        rows = [row for row in progress.live if row["piece"] in begun]
        return live_frame(rows)

    def pieces(self, progress: Progress) -> pd.DataFrame:
        """Return all pieces with their first and last update in the run; null: not trained on."""
        rows = []
        for piece in self.stream.pieces:
            taken = [step for step in self.steps[piece.piece] if step < progress.n_steps]
            ends = [progress.first_step + step + 1 for step in (*taken[:1], *taken[-1:])]
            rows.append((piece.piece, piece.position, piece.n_tokens, *(ends or (None, None))))
        return pieces_frame(rows)

    def _cut_short(self, n_steps: int) -> list[Moment]:
        """Return the pieces whose training was under way in the very last update."""
        return [
            Moment("after_last", piece, steps.index(n_steps - 1))
            for piece in self.stream.pieces
            if n_steps - 1 in (steps := self.steps[piece.piece])[:-1]
        ]


def live_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return losses at moments as a table."""
    return pd.DataFrame(rows, columns=list(COLUMNS))


def pieces_frame(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """Return pieces and the steps of their training as a table."""
    columns = ["piece", "position", "n_tokens", "first_step", "last_step"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype({"first_step": "Int64", "last_step": "Int64"})


def _row(moment: Moment, step: int, *, nats: float, n_tokens: int) -> dict[str, Any]:
    return {
        "moment": moment.name,
        "step": step,
        "piece": moment.piece.piece,
        "repeat": moment.repeat,
        "loss_nats": float(nats / n_tokens),
        "n_tokens": int(n_tokens),
    }
