import copy

import numpy as np
import pytest
import torch

from palimpsest.core.flat import FlatWeights
from palimpsest.core.models import new_neox
from palimpsest.core.update import Update
from palimpsest.faults import Fault

ADAMW = {
    "kind": "adamw",
    "beta1": 0.9,
    "beta2": 0.95,
    "epsilon": 1e-8,
    "weight_decay": 0.1,
    "clip_norm": 1.0,
    "layer_slope": 0.0,
}
SGD = {"kind": "sgd", "beta1": 0.9, "weight_decay": 0.1, "clip_norm": 1.0, "layer_slope": 0.0}


@pytest.fixture
def model():
    return new_neox(hidden_size=32, layers=3, heads=2, vocab_size=64, context_length=32, seed=3)


def loss_of(model, seed):
    tokens = torch.from_numpy(np.random.default_rng(seed).integers(0, 64, (4, 17)))
    logits = model(input_ids=tokens[:, :-1]).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def torch_optimizer(model, settings, learning_rate):
    if settings["kind"] == "sgd":
        return torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=0.9, weight_decay=0.1)
    return torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1
    )


def give_gradients(model, flat_gradients):
    sizes = [parameter.numel() for parameter in model.parameters()]
    for parameter, part in zip(model.parameters(), flat_gradients.split(sizes), strict=True):
        parameter.grad = part.view_as(parameter).clone()


def flat_of(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("settings", [ADAMW, SGD, {**ADAMW, "clip_norm": 0.05}])
def test_ten_steps_on_the_same_gradients_equal_the_torch_optimizer(model, settings):
    theirs = copy.deepcopy(model)
    flat = FlatWeights(model)
    update = Update(flat, settings)
    optimizer = torch_optimizer(theirs, settings, 1e-3)
    for step in range(10):
        learning_rate = 1e-3 * (1 + step % 3)
        flat.zero_grad()
        loss_of(model, step).backward()
        flat_gradients = flat.grads.clone()
        flat.step(update.direction(), learning_rate)
        give_gradients(theirs, flat_gradients)
        norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), settings["clip_norm"])
        assert float(update.grad_norm) == pytest.approx(float(norm), rel=1e-4)
        optimizer.param_groups[0]["lr"] = learning_rate
        optimizer.step()
    torch.testing.assert_close(flat.weights, flat_of(theirs), rtol=1e-5, atol=1e-6)


def test_the_fused_direction_is_the_other_one_and_goes_on_from_it(model):
    """Ten steps by either way, and by one that changes over half-way: all to fp32's digits."""
    flat = FlatWeights(model)
    ways = [Update(flat, {**ADAMW, "clip_norm": 0.5}) for _ in range(3)]
    for step in range(10):
        flat.zero_grad()
        loss_of(model, step).backward()
        gradient = flat.grads.clone()
        directions = []
        for update, fused in zip(ways, (False, True, step >= 5), strict=True):
            flat.grads.copy_(gradient)
            update.fused = fused
            directions.append(update.direction())
        for u in directions[1:]:
            torch.testing.assert_close(u, directions[0], rtol=1e-5, atol=1e-6)
        flat.step(directions[1], 1e-3)
    for update in ways[1:]:
        for name, moments in update.state().items():
            torch.testing.assert_close(moments, ways[0].state()[name], rtol=1e-5, atol=1e-12)


def test_ten_fused_steps_equal_torchs_fused_optimizer(model):
    theirs = copy.deepcopy(model)
    flat = FlatWeights(model)
    update = Update(flat, {**ADAMW, "clip_norm": None})
    update.fused = True
    optimizer = torch.optim.AdamW(
        theirs.parameters(), lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=True
    )
    for step in range(10):
        flat.zero_grad()
        loss_of(model, step).backward()
        give_gradients(theirs, flat.grads.clone())
        flat.step(update.direction(), 1e-3)
        optimizer.step()
    torch.testing.assert_close(flat.weights, flat_of(theirs), rtol=1e-5, atol=1e-6)


def test_layer_slope_equals_parameter_groups_of_their_own_rates(model):
    theirs = copy.deepcopy(model)
    flat = FlatWeights(model)
    # Three blocks, slope 0.5: factors 0.75, 1, 1.25; embedding with the first, head with the last.
    factors = [0.75 if s.layer <= 0 else 1.0 if s.layer == 1 else 1.25 for s in flat.segments]
    groups = [
        {"params": [parameter], "lr": 1e-2 * factor}
        for parameter, factor in zip(theirs.parameters(), factors, strict=True)
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    loss_of(theirs, 0).backward()
    torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
    optimizer.step()
    loss_of(model, 0).backward()
    flat.step(Update(flat, {**ADAMW, "layer_slope": 0.5}).direction(), 1e-2)
    torch.testing.assert_close(flat.weights, flat_of(theirs), rtol=1e-5, atol=1e-6)


def test_the_first_adamw_direction_is_the_sign_of_the_gradient_plus_decay():
    layer = torch.nn.Linear(3, 1, bias=False)
    flat = FlatWeights(layer)
    flat.weights.copy_(torch.tensor([1.0, -2.0, 4.0]))
    flat.grads.copy_(torch.tensor([0.3, -0.1, 0.0]))
    u = Update(flat, ADAMW).direction()
    # m̂/√v̂ of a first gradient is ±1 (0 for 0); decay adds 0.1·θ.
    torch.testing.assert_close(u, torch.tensor([1.1, -1.2, 0.4]), rtol=1e-5, atol=1e-6)


def test_clipping_scales_to_the_norm_and_keeps_shorter_gradients():
    flat = FlatWeights(torch.nn.Linear(2, 1, bias=False))
    plain = {**SGD, "beta1": 0.0, "weight_decay": 0.0}
    flat.grads.copy_(torch.tensor([3.0, 4.0]))
    torch.testing.assert_close(Update(flat, plain).direction(), torch.tensor([0.6, 0.8]))
    flat.grads.copy_(torch.tensor([0.3, 0.4]))
    torch.testing.assert_close(Update(flat, plain).direction(), torch.tensor([0.3, 0.4]))
    flat.grads.copy_(torch.tensor([3.0, 4.0]))
    free = Update(flat, {**plain, "clip_norm": None})
    assert free.direction().tolist() == [3.0, 4.0] and float(free.grad_norm) == 5.0


def test_a_loaded_state_goes_on_bit_equal(model):
    flat = FlatWeights(model)
    update = Update(flat, ADAMW)
    loss_of(model, 0).backward()
    update.direction()
    other = Update(flat, ADAMW)
    other.load({name: tensor.clone() for name, tensor in update.state().items()})
    first = update.direction()
    assert torch.equal(other.direction(), first)


def test_mistakes_are_faults(model):
    flat = FlatWeights(model)
    with pytest.raises(Fault, match="adam2"):
        Update(flat, {**ADAMW, "kind": "adam2"})
    with pytest.raises(Fault, match="layer_slope"):
        Update(flat, {**ADAMW, "layer_slope": 3.0})
