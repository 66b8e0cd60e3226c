"""A base and groups of rows → the loss of each group: what the orders by difficulty go by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn

from palimpsest.core.losses import micro_batch_tokens, pack, row_losses
from palimpsest.core.rows import Piece, Row


def piece_losses(model: nn.Module, pieces: Sequence[Piece]) -> pd.DataFrame:
    """Return one row per piece of the new corpus: position, n_tokens and its loss_nats."""
    return _losses(model, [piece.rows for piece in pieces], [piece.position for piece in pieces])


def replay_losses(model: nn.Module, rows: Sequence[Row]) -> pd.DataFrame:
    """Return one row per row of the original corpus: position, n_tokens and its loss_nats."""
    return _losses(model, [(row,) for row in rows], [row.position for row in rows])


def _losses(
    model: nn.Module, groups: Sequence[tuple[Row, ...]], positions: list[int]
) -> pd.DataFrame:
    """Return the mean loss per counted token of each group, in nats, in the order given."""
    rows = [row for group in groups for row in group]
    device: torch.device = next(model.parameters()).device
    packed = pack(rows, max_tokens=micro_batch_tokens(model), device=device, pieces=True)
    sums, counts = row_losses(model, packed)
    begins = np.cumsum([0, *(len(group) for group in groups[:-1])])
    nats, n_tokens = np.add.reduceat(sums, begins), np.add.reduceat(counts, begins)
    columns = {"position": positions, "n_tokens": n_tokens, "loss_nats": nats / n_tokens}
    return pd.DataFrame(columns)
