from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import Gemma2Config, Gemma2ForCausalLM, GPT2Config, GPT2LMHeadModel

from palimpsest.core import cross_entropy as ours
from palimpsest.core.models import new_neox


def inputs(*, bias: bool) -> tuple[torch.Tensor, torch.nn.Linear, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    head = torch.nn.Linear(6, 40, bias=bias)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(3 * torch.randn(parameter.shape, generator=random))
    targets = torch.randint(0, 40, (50,), generator=random)
    targets[::7] = -100
    return torch.randn(50, 6, generator=random), head, targets


@pytest.mark.parametrize("bias", [False, True])
def test_losses_and_gradients_are_torchs_own(bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ours.LOGITS_AT_A_TIME, "cpu", 40 * 8)  # eight positions at a time
    hidden, head, targets = inputs(bias=bias)
    leaves = [hidden.requires_grad_(), *head.parameters()]
    theirs = cross_entropy(head(hidden), targets, ignore_index=-100, reduction="none")
    expected = torch.autograd.grad(0.3 * theirs.sum(), leaves)
    for _ in range(2):  # the second adds to what is there
        nats, by_hidden = ours.sum_backward(hidden.detach(), head, targets, scale=0.3)
    torch.testing.assert_close(nats, theirs.detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(by_hidden, expected[0], rtol=1e-5, atol=1e-5)
    for parameter, gradient in zip(head.parameters(), expected[1:], strict=True):
        torch.testing.assert_close(parameter.grad, 2 * gradient, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bias", [False, True])
def test_in_bfloat16_the_head_is_what_autocast_makes_of_it(bias: bool) -> None:
    """The same logits, so the same losses; gradients within a rounding or two of 8 bits.

    A bias is added after the product was rounded, and rounds the logits once more.
    """
    hidden, head, targets = inputs(bias=bias)
    leaves = [hidden.requires_grad_(), *head.parameters()]
    with torch.autocast("cpu", torch.bfloat16):
        logits = head(hidden)
    assert logits.dtype == torch.bfloat16
    theirs = cross_entropy(logits.float(), targets, ignore_index=-100, reduction="none")
    expected = torch.autograd.grad(0.3 * theirs.sum(), leaves)
    with torch.autocast("cpu", torch.bfloat16):
        half = hidden.detach().bfloat16()
        nats, by_hidden = ours.sum_backward(half, head, targets, scale=0.3)
    assert nats.dtype == torch.float32 and by_hidden.dtype == torch.bfloat16
    atol = 2 * 2**-8 * float(logits.detach().abs().max()) if bias else 1e-6
    torch.testing.assert_close(nats, theirs.detach(), rtol=1e-6, atol=atol)
    gradients = [by_hidden.float(), *(parameter.grad for parameter in head.parameters())]
    for gradient, other in zip(gradients, expected, strict=True):
        assert float((gradient - other).norm() / other.norm()) < (2**-6 if bias else 2**-8)
    assert all(parameter.grad.dtype == torch.float32 for parameter in head.parameters())


def test_in_bfloat16_a_word_that_is_all_but_certain_still_pulls() -> None:
    """p = 1 / (1 + e^-8) is 1 in bfloat16, p − 1 is not 0."""
    head = torch.nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[8.0], [0.0]]))
    one = torch.ones(1, 1, dtype=torch.bfloat16)
    _, by_hidden = ours.sum_backward(one, head, torch.tensor([0]), scale=1.0)
    missing = 1 / (1 + math.exp(8))
    assert by_hidden.item() == pytest.approx(-8 * missing, rel=2**-7)
    assert head.weight.grad is not None
    assert head.weight.grad[:, 0].tolist() == pytest.approx([-missing, missing], rel=2**-7)


def test_training_and_measuring_see_the_same_bits() -> None:
    hidden, head, targets = inputs(bias=True)
    nats, _ = ours.sum_backward(hidden, head, targets, scale=1.0)
    assert torch.equal(nats, ours.target_nats(hidden, head, targets))


def test_logits_beyond_the_range_of_exp_keep_their_loss() -> None:
    head = torch.nn.Linear(1, 3, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[300.0], [200.0], [-300.0]]))
    nats = ours.target_nats(torch.ones(3, 1), head, torch.tensor([0, 1, 2]))
    assert nats.tolist() == [0.0, 100.0, 600.0]


def test_a_head_counts_as_the_last_word_only_where_it_is() -> None:
    neox: Any = new_neox(hidden_size=8, layers=1, heads=2, vocab_size=20, context_length=8, seed=0)
    assert ours.linear_head(neox) is neox.lm_head
    tied = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=2)).eval()
    assert ours.linear_head(tied) is tied.lm_head
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "head_dim": 4}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 20}
    capped = Gemma2ForCausalLM(Gemma2Config(**small, **heads, pad_token_id=0)).eval()
    assert ours.linear_head(capped) is None
    assert ours.linear_head(torch.nn.Linear(2, 2)) is None
