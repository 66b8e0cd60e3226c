"""A base and sequences of original text → how much the loss there hangs on each single weight.

The diagonal of the empirical Fisher information of the model as a model of sequences (Kirkpatrick
et al. 1612.00796): the mean over sequences of (∂ log p(sequence)/∂θᵢ)², with the exact gradient of
each sequence of its own, squared before anything is added up. Divided by the tokens of a sequence,
so that it stands beside a loss in nats per token: near θ₀ a displacement δ costs about
½ Σ Fᵢ δᵢ² nats per token. The tokens are the corpus's, not drawn from the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from palimpsest.core.flat import FlatWeights
from palimpsest.core.losses import backward, count_tokens, pack
from palimpsest.core.rows import Row

DRAW = 3  # keeps this draw of rows apart from replay's under the same seed


def choose(rows: Sequence[Row], *, n_tokens: int, seed: int) -> list[Row]:
    """Return rows of about `n_tokens` targets together, drawn without replacement, in order."""
    n_rows = min(len(rows), max(1, round(n_tokens / rows[0].n_targets)))
    drawn = np.random.default_rng([seed, DRAW]).choice(len(rows), n_rows, replace=False)
    return [rows[int(place)] for place in sorted(drawn)]


def diagonal_fisher(
    model: nn.Module,
    flat: FlatWeights,
    rows: Sequence[Row],
    *,
    row_done: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """Return Fᵢ for every weight, flat, per token; one backward pass per sequence."""
    squares = torch.zeros_like(flat.weights, dtype=torch.float64)
    n_tokens = 0
    for number, row in enumerate(rows, start=1):
        packed = pack([row], max_tokens=row.n_targets, device=flat.weights.device)
        flat.zero_grad()
        backward(model, packed, n_tokens_total=1)  # the gradient of the sum over its tokens
        squares += flat.grads.double().square_()
        n_tokens += count_tokens(packed)
        row_done(number)
    flat.zero_grad()
    return (squares / n_tokens).to(flat.weights.dtype)
