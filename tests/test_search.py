import math
import subprocess
import sys

import numpy as np
import pytest

from palimpsest.core.curve import Curve
from palimpsest.core.search import first_above, first_below, lowest

LOSS = 5.0


def quadratic(*, g, c):
    """L(η) = 5 − gη + cη²/2: best g/c, edge 2g/c, largest decrease g²/2c."""
    return Curve(
        lambda rate: LOSS - g * rate + 0.5 * c * rate**2, loss_nats=LOSS, slope=-g, highest=1e9
    )


def first_rate(g, c, fall_nats):
    """The smaller root of cη²/2 − gη + fall = 0, in the form that loses no digits."""
    return 2 * fall_nats / (g + math.sqrt(g**2 - 2 * c * fall_nats))


@pytest.mark.parametrize("g", [1.0, 130.0, 1e4])
@pytest.mark.parametrize("c", [1e-4, 1.0, 2e4, 1e9])
def test_a_quadratic_in_closed_form(g, c):
    largest = g**2 / (2 * c)
    curve = quadratic(g=g, c=c)
    n_forward = 0
    for part in (0.01, 0.3, 0.9, 0.999):
        found = first_below(curve, LOSS - part * largest)
        assert found.learning_rate == pytest.approx(first_rate(g, c, part * largest), rel=0.01)
        assert found.loss_nats <= LOSS - part * largest
        n_forward += found.n_forward
    if largest < 1e-7 * LOSS:
        return  # the fall itself is lost in the digits of the loss
    best, edge = lowest(curve), first_above(curve, LOSS)
    assert best.learning_rate == pytest.approx(g / c, rel=0.01)
    assert edge.learning_rate == pytest.approx(2 * g / c, rel=0.01)
    assert edge.loss_nats > LOSS
    assert n_forward + best.n_forward + edge.n_forward <= 18


@pytest.mark.parametrize("part", [1.0001, 1.01, 2.0, 1e3])
def test_no_rate_exactly_where_the_decrease_exceeds_the_largest(part):
    curve = quadratic(g=130.0, c=2e4)
    largest = 130.0**2 / (2 * 2e4)
    assert first_below(curve, LOSS - largest / part).learning_rate is not None
    found = first_below(curve, LOSS - part * largest)
    assert found.learning_rate is None
    assert found.reason == f"the largest decrease is {largest / LOSS:.4g}"


def test_five_searches_share_their_passes_on_a_curve_that_saturates():
    """L = 5 − a·ln(1 + η/b) + cη, like what small models show: y bends over decades of η."""
    a, b, c = 0.6, 3e-3, 40.0

    def loss(rate):
        return LOSS - a * math.log1p(rate / b) + c * rate

    calls = []
    curve = Curve(
        lambda rate: calls.append(rate) or loss(rate), loss_nats=LOSS, slope=c - a / b, highest=1.0
    )
    for decrease in (0.01, 0.05):
        rate = first_below(curve, LOSS * (1 - decrease)).learning_rate
        assert loss(rate) <= LOSS * (1 - decrease) < loss(rate / 1.01)
    assert first_below(curve, LOSS * 0.9).learning_rate is None
    assert lowest(curve).learning_rate == pytest.approx(a / c - b, rel=0.01)
    edge = first_above(curve, LOSS).learning_rate
    assert loss(edge) > LOSS > loss(edge / 1.01)
    assert len(calls) == len(set(calls)) <= 14


def test_best_lies_within_one_percent_of_the_minimum_of_a_hundred_curves():
    """L = 5 − a·ln(1 + η/b) + k(η/w)^p over a decade of b and w; the minimum from a fine grid."""
    random, rates = np.random.default_rng(1), np.geomspace(1e-6, 0.1, 40_000)
    n_forward = []
    for _ in range(100):
        a, k, p = random.uniform((0.3, 0.8, 1.4), (0.9, 1.6, 2.2))
        b, w = 10 ** random.uniform((-3.0, -2.2), (-2.3, -1.6))

        def loss(rate, a=a, b=b, k=k, w=w, p=p):
            return LOSS - a * np.log1p(rate / b) + k * (rate / w) ** p

        curve = Curve(loss, loss_nats=LOSS, slope=-a / b, highest=0.1)
        for decrease in (0.01, 0.05, 0.1):
            first_below(curve, LOSS * (1 - decrease))
        best = lowest(curve)
        assert best.learning_rate == pytest.approx(rates[np.argmin(loss(rates))], rel=0.01)
        first_above(curve, LOSS)
        n_forward.append(len(curve.losses))
    assert np.mean(n_forward) <= 11


@pytest.mark.parametrize("wall", [2e-4, 5e-3, 9e-3])
def test_losses_that_are_not_a_number_beyond_a_wall_count_as_a_rise(wall):
    """Parabola with its minimum at 6.5e-3 and its root at 1.3e-2, cut off by NaN."""

    def loss(rate):
        return LOSS - 130 * rate + 1e4 * rate**2 if rate < wall else math.nan

    curve = Curve(loss, loss_nats=LOSS, slope=-130.0, highest=1.0)
    edge = first_above(curve, LOSS)
    assert wall <= edge.learning_rate <= 1.01 * wall
    best = lowest(curve)
    assert best.learning_rate == pytest.approx(min(wall, 6.5e-3), rel=0.01)
    assert math.isfinite(best.loss_nats)
    reached = LOSS - best.loss_nats
    half = first_below(curve, LOSS - reached / 2)
    assert half.learning_rate == pytest.approx(first_rate(130, 2e4, reached / 2), rel=0.01)
    assert first_below(curve, LOSS - 1.01 * reached).learning_rate is None


def test_the_first_of_two_crossings_is_found_from_a_start_beyond_both():
    """From 1.25e-2, on the branch that rises again, down to the smaller root."""
    curve = quadratic(g=130.0, c=2e4)
    fall = 0.2
    found = first_below(curve, LOSS - fall, start=1.25e-2, band_nats=0.1 * fall)
    assert found.learning_rate == pytest.approx(first_rate(130, 2e4, fall), rel=0.1)


def test_a_loss_inside_the_band_beyond_the_minimum_is_not_taken():
    curve = quadratic(g=130.0, c=2e4)
    beyond = 1.3e-2 - first_rate(130, 2e4, 0.2)
    found = first_below(curve, LOSS - 0.2, start=beyond, band_nats=0.02)
    assert found.learning_rate == pytest.approx(first_rate(130, 2e4, 0.2), rel=0.15)
    assert abs(LOSS - found.loss_nats - 0.2) <= 0.02


def test_a_start_inside_the_band_takes_one_pass():
    curve = quadratic(g=130.0, c=2e4)
    start = 1.05 * first_rate(130, 2e4, 0.1)
    found = first_below(curve, LOSS - 0.1, start=start, band_nats=0.01)
    assert (found.learning_rate, found.n_forward) == (start, 1)


def test_a_rise_is_asked_for_beyond_the_edge():
    curve = quadratic(g=130.0, c=2e4)
    found = first_above(curve, 1.1 * LOSS)
    root = (130 + math.sqrt(130**2 + 4 * 1e4 * 0.5)) / 2e4
    assert root <= found.learning_rate <= 1.01 * root


def test_nothing_is_searched_where_the_direction_does_not_descend():
    curve = Curve(lambda rate: LOSS + rate, loss_nats=LOSS, slope=1.0, highest=1.0)
    for found in (lowest(curve), first_above(curve, LOSS), first_below(curve, 4.0)):
        assert found.learning_rate is None and found.n_forward == 0
        assert "does not descend" in found.reason
    broken = Curve(lambda rate: LOSS, loss_nats=math.nan, slope=-1.0, highest=1.0)
    assert "not finite" in lowest(broken).reason


def test_the_highest_rate_ends_every_search():
    """L falls for ever: no edge, no decrease beyond what the range holds, best at its end."""
    curve = Curve(lambda rate: LOSS * math.exp(-rate), loss_nats=LOSS, slope=-LOSS, highest=0.5)
    assert first_above(curve, LOSS).reason == "not up to the highest rate 0.5"
    best = lowest(curve)
    assert (best.learning_rate, best.reason) == (0.5, "still falling at the highest rate")
    assert first_below(curve, 0.5 * LOSS).learning_rate is None
    found = first_below(curve, 0.7 * LOSS)
    assert found.learning_rate == pytest.approx(-math.log(0.7), rel=0.01)


def test_the_search_loads_no_torch():
    code = "import sys, palimpsest.core.search; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
