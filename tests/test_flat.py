from itertools import pairwise

import torch
from torch import nn

from palimpsest.core.flat import FlatWeights
from palimpsest.core.models import new_neox


class TwoTied(nn.Module):
    """loss = Σ (a·x)², with the second name tied to the first."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 1, bias=False)
        self.second = nn.Linear(2, 1, bias=False)
        self.second.weight = self.first.weight
        self.first.weight.data = torch.tensor([[1.0, 2.0]])


def test_weights_and_gradients_are_views_of_the_buffers():
    model = TwoTied()
    flat = FlatWeights(model)
    assert flat.weights.tolist() == [1.0, 2.0]
    for _ in range(2):
        model.second(torch.tensor([3.0, 1.0])).sum().backward()
    assert flat.grads.tolist() == [6.0, 2.0]
    flat.step(torch.tensor([2.0, 4.0]), 0.5)
    assert model.first.weight.tolist() == [[0.0, 0.0]]
    flat.zero_grad()
    assert model.first.weight.grad.tolist() == [[0.0, 0.0]]


def test_the_flattened_model_computes_what_it_did_before():
    model = new_neox(hidden_size=32, layers=2, heads=2, vocab_size=64, context_length=16, seed=3)
    tokens = torch.arange(12).view(1, 12)
    before = model(tokens).logits
    FlatWeights(model)
    assert torch.equal(model(tokens).logits, before)


def test_segments_of_a_neox_name_layer_and_group():
    model = new_neox(hidden_size=32, layers=2, heads=2, vocab_size=64, context_length=16, seed=3)
    flat = FlatWeights(model)
    place = {segment.name: (segment.layer, segment.group) for segment in flat.segments}
    assert place["gpt_neox.embed_in.weight"] == (-1, "embedding")
    assert place["gpt_neox.layers.0.post_attention_layernorm.bias"] == (0, "norm")
    assert place["gpt_neox.layers.1.attention.dense.weight"] == (1, "attention")
    assert place["gpt_neox.layers.1.mlp.dense_h_to_4h.bias"] == (1, "mlp")
    assert place["gpt_neox.final_layer_norm.weight"] == (2, "norm")
    assert place["lm_head.weight"] == (2, "head")
    ends = [(segment.start, segment.stop) for segment in flat.segments]
    assert ends[0][0] == 0 and ends[-1][1] == flat.weights.numel()
    assert all(left[1] == right[0] for left, right in pairwise(ends))


def test_share_rounded_away_counts_only_weights_that_were_to_move():
    model = nn.Linear(4, 1, bias=False)
    flat = FlatWeights(model)
    flat.weights.copy_(torch.tensor([1.0, 1.0, 1e-9, 1.0]))
    # Below 1 fp32 has a spacing of 6e-8: 1e-9 vanishes there, not beside 1e-9; u = 0 never counts.
    u = torch.tensor([1.0, 1e3, 1.0, 0.0])
    assert flat.share_rounded_away(u, 1e-9) == 1 / 3
    assert flat.share_rounded_away(torch.zeros(4), 1.0) == 0.0
    assert flat.weights.tolist() == torch.tensor([1.0, 1.0, 1e-9, 1.0]).tolist()


def test_digest_sees_a_single_bit():
    flat = FlatWeights(nn.Linear(4, 1))
    before = flat.digest()
    flat.weights[2] = torch.nextafter(flat.weights[2], torch.tensor(10.0))
    assert flat.digest() != before
