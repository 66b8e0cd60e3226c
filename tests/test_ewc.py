"""The pull towards θ₀ by hand, and its points of rest against those of the penalised loss."""

from typing import Any

import pytest
import torch
from torch import nn
from training_inputs import OPTIMIZER

from palimpsest.core.ewc import Anchor
from palimpsest.core.flat import FlatWeights
from palimpsest.core.update import Update


def test_the_share_of_the_way_back_by_hand() -> None:
    """η = ½, s = 2: λF of 0, 4 and 12 give 0, 2/(2 + 2) and 6/(2 + 6) of the way."""
    anchor = Anchor(torch.zeros(3), torch.tensor([0.0, 4.0, 12.0]))
    weights = torch.ones(3)
    anchor.pull(weights, 0.5, scale=2.0)
    assert weights.tolist() == [1.0, 0.5, 0.25]


def test_strength_0_moves_no_bit_and_an_endless_one_gives_the_reference_exactly() -> None:
    generator = torch.Generator().manual_seed(0)
    reference, moved, fisher = torch.rand(3, 1000, generator=generator)
    for strength, expected in ((0.0, moved), (1e30, reference), (3e38, reference)):
        weights = moved.clone()
        Anchor.of(reference, fisher + 1e-12, strength=strength).pull(weights, 1e-3, scale=1e-4)
        assert torch.equal(weights, expected)


def test_without_a_rate_nothing_is_pulled() -> None:
    weights = torch.ones(2)
    Anchor.of(torch.zeros(2), torch.ones(2), strength=5.0).pull(weights, 0.0, scale=1.0)
    assert weights.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "optimizer",
    [
        {"kind": "sgd", "beta1": 0.0},
        {"kind": "sgd", "beta1": 0.9},
        {"kind": "adamw"},
    ],
)
def test_rests_where_the_penalised_loss_is_flat(optimizer: dict[str, Any]) -> None:
    """½ a (θ − b)² + ½ λF (θ − θ₀)² is least at (a·b + λF·θ₀)/(a + λF)."""
    a, b, start, stiffness = 0.5, 3.0, 1.0, 1.5
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(start)
    flat = FlatWeights(model)
    update = Update(flat, OPTIMIZER | {"clip_norm": None} | optimizer)
    anchor = Anchor(flat.weights.clone(), torch.tensor([stiffness]))
    for _ in range(4000):
        flat.grads.copy_(a * (flat.weights - b))
        flat.step(update.direction(), 0.003)
        anchor.pull(flat.weights, 0.003, scale=update.scale())
    expected = (a * b + stiffness * start) / (a + stiffness)
    assert float(flat.weights) == pytest.approx(expected, abs=2e-3)
