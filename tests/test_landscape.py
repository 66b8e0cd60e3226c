import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from palimpsest.core.flat import FlatWeights, slope
from palimpsest.core.landscape import Line, losses_at
from palimpsest.core.losses import batch_gradient, mean_loss, pack
from palimpsest.core.models import new_neox
from palimpsest.core.update import Update

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
CPU = torch.device("cpu")
GRID = np.geomspace(1e-6, 0.1, 11)


def packed(seed, n_rows=4):
    """Rows that repeat a short phrase, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    phrases = [np.tile(rng.integers(1, 64, 5), 7)[: 24 + row] for row in range(n_rows)]
    rows = [SimpleNamespace(tokens=phrase, n_context=0) for phrase in phrases]
    return pack(rows, max_tokens=60, device=CPU)


@pytest.fixture
def model():
    return new_neox(hidden_size=32, layers=2, heads=2, vocab_size=64, context_length=32, seed=3)


def warmed(model, settings, n_steps):
    """Return flat weights and an update after some real steps."""
    flat = FlatWeights(model)
    update = Update(flat, settings)
    for step in range(n_steps):
        batch_gradient(model, flat, new=packed(step), replay=packed(100 + step))
        flat.step(update.direction(), 1e-3)
    return flat, update


def line_of(model, flat, update, *, seed=50, replay=None):
    new = packed(seed)
    gradient = batch_gradient(model, flat, new=new, replay=packed(replay) if replay else [])
    u = update.direction()
    return line_along(model, flat, u, new, gradient)


def line_along(model, flat, u, rows, gradient):
    loss_nats = float(gradient.loss_new_nats)
    along = float(slope(gradient.new_gradient, u))
    return Line(model, flat, u, rows, loss_nats=loss_nats, slope=along)


def torch_step(model, update, settings, learning_rate):
    """Take one step of torch's own optimiser, its moments and the clipped gradient copied in."""
    parameters = list(model.parameters())
    sizes = [parameter.numel() for parameter in parameters]

    def parts(flat):
        pieces = flat.split(sizes)
        return [part.view_as(p).clone() for part, p in zip(pieces, parameters, strict=True)]

    if settings["kind"] == "sgd":
        optimizer = torch.optim.SGD(
            parameters, lr=learning_rate, momentum=0.9, weight_decay=settings["weight_decay"]
        )
        moments = [{"momentum_buffer": m} for m in parts(update.first_moment)]
    else:
        optimizer = torch.optim.AdamW(
            parameters,
            lr=learning_rate,
            betas=(0.9, 0.95),
            eps=1e-8,
            weight_decay=settings["weight_decay"],
        )
        step = torch.tensor(float(update.n_updates))
        both = zip(parts(update.first_moment), parts(update.second_moment), strict=True)
        moments = [{"step": step.clone(), "exp_avg": m, "exp_avg_sq": v} for m, v in both]
    for parameter, moment, g in zip(parameters, moments, parts(update.flat.grads), strict=True):
        parameter.grad = g
        if update.n_updates:
            optimizer.state[parameter] = moment
    torch.nn.utils.clip_grad_norm_(parameters, settings["clip_norm"])
    optimizer.step()


@pytest.mark.parametrize("n_warm", [0, 5])
@pytest.mark.parametrize("settings", [ADAMW, SGD, {**ADAMW, "clip_norm": 0.05}])
def test_the_line_equals_a_real_torch_step_and_a_forward_pass(model, settings, n_warm):
    flat, update = warmed(model, settings, n_warm)
    new, replay = packed(50), packed(51)
    gradient = batch_gradient(model, flat, new=new, replay=replay)
    before = copy.deepcopy(update)
    u = update.direction()
    line = line_along(model, flat, u, new, gradient)
    for rate in GRID:
        theirs = copy.deepcopy(model)
        torch_step(theirs, before, settings, float(rate))
        assert line.at(float(rate)) == pytest.approx(mean_loss(theirs, new), rel=1e-6)


def test_the_weights_are_the_same_bits_after_every_kind_of_call(model):
    flat, update = warmed(model, ADAMW, 3)
    line = line_of(model, flat, update)
    digest = flat.digest()
    line.at(0.3)
    line.at(1e30)
    assert flat.digest() == digest
    for decrease in (0.01, 0.05, 0.5, -0.1):
        line.target(decrease)
    line.best()
    line.edge()
    line.share_rounded_away(1e-9)
    assert flat.digest() == digest


def test_the_slope_is_the_derivative_on_the_new_rows_alone(model):
    flat, update = warmed(model, ADAMW, 3)
    line = line_of(model, flat, update, replay=60)
    step = 1e-5
    assert line.slope == pytest.approx((line.at(step) - line.at(-step)) / (2 * step), rel=0.01)
    assert line.slope < 0


def test_losses_beside_the_searched_one_are_those_of_the_moved_weights(model):
    flat, update = warmed(model, ADAMW, 3)
    new, other = packed(50), packed(70)
    batch_gradient(model, flat, new=new, replay=[])
    u = update.direction()
    got = losses_at(model, flat, u, [new, other], 2e-3)
    flat.step(u, 2e-3)
    assert got == [mean_loss(model, new), mean_loss(model, other)]


def test_five_answers_on_a_model_agree_with_a_dense_grid(model):
    flat, update = warmed(model, ADAMW, 30)
    line = line_of(model, flat, update)
    found = {decrease: line.target(decrease) for decrease in (0.01, 0.05, 0.1)}
    best, edge = line.best(), line.edge()
    assert line.forward_passes <= 16  # 10 % is out of reach, which takes a search of its own
    dense = np.geomspace(1e-5, 1.0, 1500)  # 0.8 % apart
    model_losses = np.array([line.at(float(rate)) for rate in dense])
    assert found.pop(0.1).learning_rate is None
    assert model_losses.min() > 0.9 * line.loss_nats
    for decrease, one in found.items():
        first = dense[np.argmax(model_losses <= (1 - decrease) * line.loss_nats)]
        assert one.learning_rate == pytest.approx(first, rel=0.02)
        assert 1 - one.loss_nats / line.loss_nats >= decrease
    assert best.learning_rate == pytest.approx(dense[np.argmin(model_losses)], rel=0.02)
    first_rise = dense[np.argmax(model_losses > line.loss_nats)]
    assert edge.learning_rate == pytest.approx(first_rise, rel=0.02)


def test_a_decrease_of_the_initial_loss_is_the_same_amount_at_a_lower_loss(model):
    flat, update = warmed(model, ADAMW, 10)
    line = line_of(model, flat, update)
    initial = 2 * line.loss_nats
    found = line.target(0.02, reference_loss=initial)
    assert line.loss_nats - found.loss_nats == pytest.approx(0.02 * initial, rel=0.02)
    assert found.learning_rate == line.target(0.04).learning_rate


def test_the_band_accepts_a_decrease_within_it_and_nothing_else(model):
    flat, update = warmed(model, ADAMW, 10)
    state = update.state()

    def fresh_line():
        update.load(state)
        return line_of(model, flat, update)

    start = fresh_line().target(0.02).learning_rate
    assert fresh_line().target(0.02, start=1.05 * start, band=0.1).n_forward == 1
    far = fresh_line()
    found = far.target(0.02, start=1.3 * start, band=0.1)
    assert found.n_forward == 2
    assert 1 - found.loss_nats / far.loss_nats == pytest.approx(0.02, rel=0.1)


class Bowl(nn.Module):
    """A float64 'model' whose cross-entropy we know: two classes, one weight, ln(1 + e^−w)."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([weight], dtype=torch.float64))

    def forward(self, input_ids, use_cache):
        zero = torch.zeros_like(self.weight)
        logits = torch.stack([zero, self.weight], dim=-1).expand(*input_ids.shape, 2)
        return SimpleNamespace(logits=logits)


class Quadratic(nn.Module):
    """A float64 'model' whose loss is 5 − gᵀw + wᵀCw/2, C diagonal; no number beyond w₀ > wall.

    Two classes with logits (0, z): the loss −ln σ(z) of the second is q for z = −ln(e^q − 1).
    """

    G = torch.tensor([3.0, 4.0, 12.0], dtype=torch.float64)
    C = torch.tensor([1.0, 10.0, 30.0], dtype=torch.float64)

    def __init__(self, wall=math.inf):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, dtype=torch.float64))
        self.wall = wall

    def forward(self, input_ids, use_cache):
        w = self.weight
        loss = 5.0 - self.G @ w + 0.5 * (self.C * w * w).sum()
        z = -torch.log(torch.expm1(loss)) * (math.nan if w[0].item() > self.wall else 1.0)
        logits = torch.stack([torch.zeros_like(z), z])
        return SimpleNamespace(logits=logits.expand(*input_ids.shape, 2))


def quadratic_line(model):
    """Return the line along plain SGD's u = ∇L = −g: θ − ηu = ηg."""
    flat = FlatWeights(model)
    rows = [SimpleNamespace(tokens=np.array([0, 1, 1]), n_context=0)]
    new = pack(rows, max_tokens=9, device=CPU)
    gradient = batch_gradient(model, flat, new=new, replay=[])
    u = Update(flat, {**SGD, "beta1": 0.0, "weight_decay": 0.0, "clip_norm": None}).direction()
    line = line_along(model, flat, u, new, gradient)
    return flat, line


def test_target_best_and_edge_of_a_quadratic_in_closed_form_through_torch():
    """Along the gradient: slope −g², curvature c = gᵀCg; L(η) = 5 − g²η + cη²/2."""
    flat, line = quadratic_line(Quadratic())
    g2 = 3.0**2 + 4.0**2 + 12.0**2
    c = 1 * 3.0**2 + 10 * 4.0**2 + 30 * 12.0**2
    largest = g2**2 / (2 * c) / 5.0
    digest = flat.digest()
    assert line.slope == pytest.approx(-g2, rel=1e-12)
    for decrease in (0.01, 0.05, 0.1, 0.9999 * largest):
        root = 2 * 5 * decrease / (g2 + math.sqrt(g2**2 - 2 * c * 5 * decrease))
        assert line.target(decrease).learning_rate == pytest.approx(root, rel=0.01)
    assert line.best().learning_rate == pytest.approx(g2 / c, rel=0.01)
    assert line.edge().learning_rate == pytest.approx(2 * g2 / c, rel=0.01)
    rise = (g2 + math.sqrt(g2**2 + 2 * c * 5 * 0.1)) / c
    assert line.target(-0.1).learning_rate == pytest.approx(rise, rel=0.01)
    for beyond in (1.0001, 1.5, 100.0):
        assert line.target(beyond * largest).learning_rate is None
    assert flat.digest() == digest


def test_no_number_beyond_a_rate_is_an_edge_there_and_restores_the_weights():
    """The root of the parabola lies at 7.5e-2; w₀ = 3η passes the wall at η = 0.01."""
    flat, line = quadratic_line(Quadratic(wall=0.03))
    digest = flat.digest()
    assert 0.01 <= line.edge().learning_rate <= 0.0101
    assert line.best().learning_rate == pytest.approx(0.01, rel=0.01)
    assert line.target(0.2).learning_rate == pytest.approx(6.474e-3, rel=0.01)
    assert flat.digest() == digest


def test_a_target_in_closed_form_through_torch():
    """Along u = −1 the loss is ln(1 + e^−(w+η)): target and slope follow by inverting it."""
    model = Bowl(-1.0)
    flat = FlatWeights(model)
    rows = pack(
        [SimpleNamespace(tokens=np.array([0, 1, 1]), n_context=0)], max_tokens=9, device=CPU
    )
    gradient = batch_gradient(model, flat, new=rows, replay=[])
    u = torch.tensor([-1.0], dtype=torch.float64)
    line = line_along(model, flat, u, rows, gradient)
    loss = math.log1p(math.e)
    assert line.loss_nats == pytest.approx(loss, rel=1e-12)
    assert line.slope == pytest.approx(-math.e / (1 + math.e), rel=1e-12)
    rate = 1.0 - math.log(math.expm1(0.7 * loss))
    assert line.target(0.3).learning_rate == pytest.approx(rate, rel=0.01)
    assert line.edge().learning_rate is None
