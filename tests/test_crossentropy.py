import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from palimpsest.core.crossentropy import cross_entropy_nats

IGNORED = -100


def test_two_logits_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)]], requires_grad=True)
    nats = cross_entropy_nats(logits, torch.tensor([0]), ignore_index=IGNORED)
    assert nats.item() == pytest.approx(math.log(4.0))
    nats.sum().backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.75, 0.75]]))


def test_loss_and_gradient_equal_torch_with_weights_and_ignored_targets() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(6, 11, generator=generator, dtype=torch.float64)
    targets = torch.tensor([3, IGNORED, 0, 10, IGNORED, 7])
    weights = torch.rand(6, generator=generator, dtype=torch.float64)
    results = []
    for function in (cross_entropy_nats, cross_entropy):
        leaf = logits.clone().requires_grad_()
        if function is cross_entropy:
            nats = cross_entropy(leaf, targets, ignore_index=IGNORED, reduction="none")
        else:
            nats = cross_entropy_nats(leaf, targets, ignore_index=IGNORED)
        (nats * weights).sum().backward()
        results.append((nats.detach(), leaf.grad))
    torch.testing.assert_close(results[0], results[1])


def test_a_target_of_vanishing_probability_has_a_finite_loss() -> None:
    logits = torch.tensor([[0.0, 500.0]], requires_grad=True)
    nats = cross_entropy_nats(logits, torch.tensor([0]), ignore_index=IGNORED)
    assert nats.item() == 500.0
