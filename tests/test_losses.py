from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig

from palimpsest.core.cross_entropy import linear_head
from palimpsest.core.flat import FlatWeights
from palimpsest.core.losses import (
    activation_bytes,
    backward,
    batch_gradient,
    mean_loss,
    pack,
    row_losses,
    tokens_that_fit,
)
from palimpsest.core.models import new_neox

CPU = torch.device("cpu")


def row(tokens, n_context=0):
    return SimpleNamespace(tokens=np.array(tokens, dtype=np.int64), n_context=n_context)


def random_rows(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [row(rng.integers(1, 64, length + 1)) for length in lengths]


@pytest.fixture
def model():
    return new_neox(hidden_size=32, layers=2, heads=2, vocab_size=64, context_length=32, seed=3)


class Bigram(nn.Module):
    """Logits that depend on the last token alone: ln p is read off a table."""

    def __init__(self):
        super().__init__()
        self.log_p = nn.Parameter(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]).log())

    def forward(self, input_ids, use_cache):
        return SimpleNamespace(logits=self.log_p[input_ids])


def test_losses_worked_out_by_hand():
    rows = [row([0, 1]), row([0, 0, 1, 1]), row([1, 2, 0][:2])]
    packed = pack(rows, max_tokens=100, device=CPU)
    sum_nats, n_tokens = row_losses(Bigram(), packed)
    expected = [-np.log(0.25), -np.log(0.5) - np.log(0.25) - np.log(0.8), -np.log(0.1)]
    np.testing.assert_allclose(sum_nats, expected, rtol=1e-6)
    assert n_tokens.tolist() == [1, 3, 1]
    assert mean_loss(Bigram(), packed) == pytest.approx(sum(expected) / 5, rel=1e-6)


def test_context_targets_count_in_training_but_not_in_a_piece():
    rows = [row([0, 0, 1, 1], n_context=2)]
    as_piece = pack(rows, max_tokens=100, device=CPU, pieces=True)
    sum_nats, n_tokens = row_losses(Bigram(), as_piece)
    assert sum_nats[0] == pytest.approx(-np.log(0.8), rel=1e-6)
    assert n_tokens.tolist() == [1]
    assert pack(rows, max_tokens=100, device=CPU)[0].n_tokens == 3


def test_micro_batches_hold_their_budget_and_never_cut_a_row():
    packed = pack(random_rows([5, 30, 12, 12, 7, 3]), max_tokens=25, device=CPU)
    assert [tuple(micro.inputs_BT.shape) for micro in packed] == [(1, 30), (2, 12), (3, 7)]
    assert [micro.row_index for micro in packed] == [(1,), (2, 3), (4, 0, 5)]


def test_padding_changes_no_loss(model):
    rows = random_rows([5, 30, 12, 7])
    together, _ = row_losses(model, pack(rows, max_tokens=1000, device=CPU))
    alone = [row_losses(model, pack([one], max_tokens=1000, device=CPU))[0][0] for one in rows]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_parts_and_micro_batches_add_up_to_the_gradient_of_the_whole_mean(model):
    flat = FlatWeights(model)
    new, replay = random_rows([5, 30, 12]), random_rows([7, 20], seed=1)
    whole_loss = float(backward(model, pack(new + replay, max_tokens=1000, device=CPU), 74))
    whole = flat.grads.clone()
    small = batch_gradient(
        model,
        flat,
        new=pack(new, max_tokens=30, device=CPU),
        replay=pack(replay, max_tokens=10, device=CPU),
    )
    torch.testing.assert_close(flat.grads, whole, rtol=1e-5, atol=1e-7)
    mixed = float(47 * small.loss_new_nats + 27 * small.loss_replay_nats) / 74
    assert mixed == pytest.approx(whole_loss, rel=1e-6)
    flat.zero_grad()
    backward(model, pack(new, max_tokens=1000, device=CPU), 47)
    torch.testing.assert_close(small.new_gradient, flat.grads, rtol=1e-5, atol=1e-7)


def test_pure_replay_has_no_new_loss_and_descends_on_the_replay(model):
    flat = FlatWeights(model)
    replay = pack(random_rows([7, 20]), max_tokens=100, device=CPU)
    gradient = batch_gradient(model, flat, new=[], replay=replay)
    assert np.isnan(gradient.loss_new_nats)
    assert float(gradient.loss_replay_nats) == pytest.approx(mean_loss(model, replay), rel=1e-7)
    assert torch.equal(gradient.new_gradient, flat.grads)


def test_the_training_loss_is_the_measured_loss_to_the_last_bit(model):
    packed = pack(random_rows([16] * 8), max_tokens=64, device=CPU)
    FlatWeights(model)
    assert float(backward(model, packed, 128)) == mean_loss(model, packed)


def own_loss(model, tokens):
    """The model's own mean loss of predicting each next token, and its gradient by all weights."""
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(input_ids=tokens, labels=tokens).loss
    loss.backward()
    gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    model.zero_grad()
    return loss.item(), gradient


@pytest.mark.parametrize("family", ["neox", "gpt2"])
def test_in_bfloat16_loss_and_gradient_are_the_models_own(model, family):
    """To the rounding of products to 8 bits; without autocast all is fp32's."""
    if family == "gpt2":  # the head's weights are the embedding's
        torch.manual_seed(3)
        shape = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 32}
        model = GPT2LMHeadModel(GPT2Config(vocab_size=64, **shape)).eval()
    tokens = torch.from_numpy(np.random.default_rng(5).integers(1, 64, (8, 33)))
    loss, gradient = own_loss(model, tokens[:, :32])
    flat = FlatWeights(model)
    packed = pack([row(one[:32].numpy()) for one in tokens], max_tokens=1000, device=CPU)
    with torch.autocast("cpu", torch.bfloat16):
        ours = backward(model, packed, 8 * 31)
    assert float(ours) == pytest.approx(loss, rel=1e-4)
    assert float((flat.grads - gradient).norm() / gradient.norm()) < 2**-7
    exact = flat.grads.clone()
    flat.zero_grad()
    backward(model, packed, 8 * 31)
    assert not torch.equal(flat.grads, exact)


def test_in_bfloat16_no_product_of_training_is_left_in_fp32(model):
    """Every matrix product but those of measuring gets bfloat16 operands, the head's three too."""
    FlatWeights(model)
    packed = pack(random_rows([16] * 3), max_tokens=64, device=CPU)
    linear_head(model)  # found out once, by products of its own
    with Products() as trained, torch.autocast("cpu", torch.bfloat16):
        backward(model, packed, 48)
    assert trained.n_with_vocabulary == 3
    assert trained.dtypes == {torch.bfloat16}
    with Products() as measured:
        mean_loss(model, packed)
    assert measured.dtypes == {torch.float32}


def test_activations_by_hand(model):
    """Two blocks: 32 to 96, 32 to 32, 32 to 128 and back are 512 numbers of four bytes each."""
    assert activation_bytes(model) == 2 * 4 * (128 + 64 + 160 + 160)
    assert [tokens_that_fit(n, 100) for n in (0, 99, 399, 400, 12_800)] == [1, 1, 2, 4, 128]


@pytest.mark.parametrize("family", ["neox", "gpt2", "llama"])
def test_a_token_keeps_no_more_than_is_reckoned_with(family):
    """What autograd really keeps per token in bfloat16, and at least half of what was reckoned."""
    llama = LlamaConfig(
        hidden_size=64, intermediate_size=168, num_hidden_layers=2, num_attention_heads=4
    )
    gpt2 = GPT2Config(n_embd=64, n_layer=2, n_head=4)
    neox = {"hidden_size": 64, "layers": 2, "heads": 4, "vocab_size": 64, "context_length": 512}
    models = {"gpt2": gpt2, "llama": llama}
    if family == "neox":
        one = new_neox(**neox, seed=3)
    else:
        one = AutoModelForCausalLM.from_config(models[family]).eval()
    per_token = (kept_bytes(one, 384) - kept_bytes(one, 128)) / 256
    assert 0.5 * activation_bytes(one) < per_token <= activation_bytes(one)


def kept_bytes(model, n_tokens):
    """Bytes that a forward pass in bfloat16 keeps for the backward one, weights left out."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = tensor  # held, so that no other takes its place
        return tensor

    tokens = torch.zeros(1, n_tokens, dtype=torch.long)
    keeping = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
    with keeping, torch.autocast("cpu", torch.bfloat16):
        model.base_model(input_ids=tokens, use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


class Products(TorchDispatchMode):
    """Notes the dtypes of the operands of matrix products, and how many make or take logits."""

    def __init__(self):
        super().__init__()
        self.dtypes = set()
        self.n_with_vocabulary = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.addmm_):
            matrices = args[-2:]
            self.dtypes |= {matrix.dtype for matrix in matrices}
            self.n_with_vocabulary += any(64 in matrix.shape for matrix in matrices)
        return func(*args, **(kwargs or {}))
