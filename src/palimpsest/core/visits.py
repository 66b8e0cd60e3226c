"""The passes of training over each piece → when it was seen, and losses taken at those moments.

A visit is one epoch's stretch of training on a piece: piece, n_tokens, first_step, last_step and
the losses before_first and after_last in nats (NaN where not taken). Losses after the repeats in
between are rows of their own. Steps count over the run.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NEVER = np.array([], dtype=np.int64)
RECALL_COLUMNS = ["checkpoint_step", "piece", "repeat", "loss_nats", "n_tokens", "measured"]


def with_live_losses(
    recall: pd.DataFrame, visits: pd.DataFrame, repeats: pd.DataFrame
) -> pd.DataFrame:
    """Join losses at checkpoints with those taken while training, for the pieces of `recall`.

    checkpoint_step is the number of updates behind the weights measured: first_step − 1 for
    before_first, last_step for after_last. `repeat` counts the visits begun by then. repeats:
    piece, checkpoint_step, loss_nats, n_tokens after each repeat of a visit but its last.
    """
    repeats = repeats[repeats.piece.isin(recall.piece)]
    visits = visits[visits.piece.isin(recall.piece)].sort_values(["piece", "first_step"])
    number = visits.groupby("piece").cumcount()
    parts = [
        recall.assign(measured="checkpoint", repeat=_visits_begun(recall, visits)),
        _live(visits, "before_first", step=visits.first_step - 1, repeat=number),
        _live(visits, "after_last", step=visits.last_step, repeat=number + 1),
        repeats.assign(measured="after_repeat", repeat=_visits_begun(repeats, visits)),
    ]
    table = pd.concat([part[RECALL_COLUMNS].astype({"loss_nats": np.float32}) for part in parts])
    return table.sort_values(["checkpoint_step", "measured", "piece"], ignore_index=True)


def first_and_last(visits: pd.DataFrame, places: list[tuple[int, int]]) -> pd.DataFrame:
    """Return t₁ and t₂ of every piece over the whole run, −1 where it was never trained on.

    places: (position, n_tokens) of piece 0, 1, …
    """
    table = pd.DataFrame(places, columns=["position", "n_tokens"])
    table.insert(0, "piece", table.index)
    seen = visits.groupby("piece")
    return table.assign(
        first_step=table.piece.map(seen.first_step.min()).fillna(-1).astype(int),
        last_step=table.piece.map(seen.last_step.max()).fillna(-1).astype(int),
        n_visits=table.piece.map(seen.size()).fillna(0).astype(int),
    )


def _live(visits: pd.DataFrame, moment: str, *, step: pd.Series, repeat: pd.Series) -> pd.DataFrame:
    rows = visits[["piece", "n_tokens"]].assign(
        checkpoint_step=step, repeat=repeat, loss_nats=visits[moment], measured=moment
    )
    return rows[rows.loss_nats.notna()]


def _visits_begun(recall: pd.DataFrame, visits: pd.DataFrame) -> NDArray[np.int64]:
    begun = np.zeros(len(recall), dtype=np.int64)
    starts = {
        int(str(piece)): group.to_numpy() for piece, group in visits.groupby("piece").first_step
    }
    for piece, rows in recall.groupby("piece").indices.items():
        steps = recall.checkpoint_step.to_numpy(dtype=np.int64)[rows]
        begun[rows] = np.searchsorted(starts.get(int(str(piece)), NEVER), steps, side="right")
    return begun
