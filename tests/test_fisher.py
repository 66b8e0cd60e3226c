"""The diagonal Fisher of a model of four weights by hand, and against single gradients."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from palimpsest.core.fisher import choose, diagonal_fisher
from palimpsest.core.flat import FlatWeights
from palimpsest.core.models import new_neox
from palimpsest.core.rows import Row


class Bigram(nn.Module):
    """log p(next | token) is the log-softmax of the token's row: two tokens, four weights."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(2, 2)
        self.table.weight.data.zero_()

    def forward(self, input_ids: torch.Tensor, **_: object) -> SimpleNamespace:
        return SimpleNamespace(logits=self.table(input_ids))


def row(*tokens: int) -> Row:
    return Row(np.array(tokens, dtype=np.int64), "replay", 0, piece=-1)


def fisher_of(model: nn.Module, rows: list[Row]) -> torch.Tensor:
    return diagonal_fisher(model, FlatWeights(model), rows)


def test_by_hand() -> None:
    """All p = 1/2, so that ∂ log p/∂w[a] is ± 1/2 for each target that follows a.

    0,0,0: −2·½ on w[0,0], +2·½ on w[0,1], squares 1 and 1. 0,0,1: they cancel, squares 0.
    1,0: ½ and −½ on w[1], squares ¼. Over five targets: 1/5 and 1/20.
    """
    found = fisher_of(Bigram(), [row(0, 0, 0), row(0, 0, 1), row(1, 0)])
    assert found.tolist() == pytest.approx([0.2, 0.2, 0.05, 0.05])


def test_is_the_curvature_of_the_loss_where_the_model_is_right() -> None:
    """At p = 1/2 and as many 0s as 1s the Hessian of the mean loss is ¼ per pair's share.

    All four pairs equally often: each row of the table is used by half the targets, so that
    ∂²loss/∂w² = ½ · p(1 − p) = 1/8, which rows of one target give exactly.
    """
    pairs = [row(a, b) for a in (0, 1) for b in (0, 1)]
    assert fisher_of(Bigram(), pairs).tolist() == pytest.approx([0.125] * 4)


def test_squares_each_sequence_s_own_gradient() -> None:
    model = new_neox(hidden_size=8, layers=1, heads=2, vocab_size=11, context_length=8, seed=2)
    rng = np.random.default_rng(0)
    rows = [row(*rng.integers(0, 11, size=n)) for n in (9, 5, 7)]
    expected = []
    for one in rows:
        model.zero_grad()
        tokens = torch.tensor(one.tokens)[None]
        model(input_ids=tokens, labels=tokens).loss.mul(one.n_targets).backward()
        parts = [parameter.grad.flatten() for parameter in model.parameters()]
        expected.append(torch.cat(parts).double() ** 2)
    model.zero_grad(set_to_none=True)
    torch.testing.assert_close(
        fisher_of(model, rows).double(), sum(expected) / 18, rtol=1e-4, atol=1e-9
    )


def test_rows_are_drawn_once_each_and_by_the_seed() -> None:
    rows = [row(*range(k, k + 5)) for k in range(50)]
    drawn = choose(rows, n_tokens=80, seed=1)
    firsts = [int(one.tokens[0]) for one in drawn]
    assert len(set(firsts)) == 20 and firsts == sorted(firsts)
    assert firsts != [int(one.tokens[0]) for one in choose(rows, n_tokens=80, seed=2)]
    assert len(choose(rows, n_tokens=10**6, seed=1)) == 50
