import math
import subprocess
import sys

import pytest
from pydantic import ValidationError

from palimpsest.core.curve import Curve
from palimpsest.core.plug_ins import plug_in
from palimpsest.core.policies import (
    best,
    cosine,
    cycle,
    fixed,
    follow,
    hold,
    plateau,
    warmup,
)
from palimpsest.core.policies.step import Step
from palimpsest.core.search import first_below, lowest
from palimpsest.faults import Fault


class Parabola:
    """A line whose loss is known: L(η) = loss − gη + cη²/2; best g/c, largest fall g²/2c."""

    def __init__(self, *, loss_nats=4.0, g=100.0, c=2e4):
        self.loss_nats = loss_nats
        self.curve = Curve(
            lambda rate: loss_nats - g * rate + 0.5 * c * rate**2,
            loss_nats=loss_nats,
            slope=-g,
            highest=1.0,
        )

    def target(self, decrease, *, start=None, reference_loss=None, band=0.0):
        amount = decrease * (reference_loss or self.loss_nats)
        return first_below(
            self.curve, self.loss_nats - amount, start=start, band_nats=band * amount
        )

    def best(self, *, start=None, tolerance=0.01):
        return lowest(self.curve, start=start, tolerance=tolerance)


def trajectory(module, params, count, **known):
    """Return the rates of the first updates; memory goes along as in a phase."""
    memory = {}
    steps = [Step(index=index, line=Parabola(), **known) for index in range(count)]
    return [module.rate(params, memory, step) for step in steps]


def test_fixed():
    params = fixed.Params(kind="fixed", learning_rate=1e-3)
    assert trajectory(fixed, params, 3) == [1e-3] * 3
    assert fixed.label(params) == "fixed 0.001"


def test_warmup_climbs_on_a_straight_line_and_stays():
    params = warmup.Params(kind="warmup", start=1e-4, learning_rate=5e-4, steps=4)
    expected = [1e-4, 2e-4, 3e-4, 4e-4, 5e-4, 5e-4]
    assert trajectory(warmup, params, 6) == pytest.approx(expected)


def test_cosine_climbs_then_falls_to_its_final_rate_on_the_last_update():
    params = cosine.Params(kind="cosine", learning_rate=4e-3, final=0.0, warmup=1)
    # Update 1 is the top; 2 … 5 at cos 45°, 90°, 135°, 180°.
    expected = [2e-3, 4e-3, 2e-3 * (1 + 0.5**0.5), 2e-3, 2e-3 * (1 - 0.5**0.5), 0.0]
    assert trajectory(cosine, params, 6, n_steps=6) == pytest.approx(expected)
    with pytest.raises(Fault, match="length"):
        trajectory(cosine, params, 1)


def test_cycle_is_a_triangle():
    params = cycle.Params(kind="cycle", low=1e-3, high=3e-3, period=4)
    expected = [1e-3, 2e-3, 3e-3, 2e-3, 1e-3, 2e-3]
    assert trajectory(cycle, params, 6) == pytest.approx(expected)


def test_hold_keeps_the_median_of_the_probe():
    probe = {"targets": {"0.05": {"median": 2e-3}, "0.1": {"median": None}}}
    params = hold.Params(kind="hold", decrease=0.05)
    assert trajectory(hold, params, 2, probe=probe) == [2e-3, 2e-3]
    assert hold.label(params) == "hold 5 %"
    unreachable = hold.Params(kind="hold", decrease=0.10)
    assert math.isnan(trajectory(hold, unreachable, 1, probe=probe)[0])
    with pytest.raises(Fault, match=r"no decrease 0\.02"):
        trajectory(hold, hold.Params(kind="hold", decrease=0.02), 1, probe=probe)


def small_root(fall_nats, g=100.0, c=2e4):
    return (g - math.sqrt(g**2 - 2 * c * fall_nats)) / c


def test_follow_finds_the_asked_decrease_anew_on_every_step():
    params = follow.Params(kind="follow", decrease=0.02)
    memory = {}
    for index, (loss_nats, g) in enumerate([(4.0, 100.0), (3.9, 80.0), (3.8, 120.0)]):
        step = Step(index=index, line=Parabola(loss_nats=loss_nats, g=g))
        rate = follow.rate(params, memory, step)
        fall = g * rate - 1e4 * rate**2
        assert fall == pytest.approx(0.02 * loss_nats, rel=0.1)
        assert rate < g / 2e4
        assert (step.asked, step.reached) == (0.02, True)
        assert step.achieved == pytest.approx(fall / loss_nats)
        assert step.loss_after_nats == pytest.approx(loss_nats - fall)


def test_follow_starts_from_the_last_rate():
    params = follow.Params(kind="follow", decrease=0.02)
    memory = {"rate": small_root(0.08), "initial_loss_nats": 4.0}
    line = Parabola()
    assert follow.rate(params, memory, Step(index=1, line=line)) == pytest.approx(small_root(0.08))
    assert len(line.curve.losses) == 1


def test_follow_of_the_initial_loss_asks_for_the_same_nats_all_along():
    params = follow.Params(kind="follow", decrease=0.02, of="initial")
    memory = {}
    for index, loss_nats in enumerate([4.0, 2.0]):
        step = Step(index=index, line=Parabola(loss_nats=loss_nats))
        rate = follow.rate(params, memory, step)
        assert 100 * rate - 1e4 * rate**2 == pytest.approx(0.08, rel=0.1)
        assert step.achieved == pytest.approx(0.02, rel=0.1)


def test_follow_out_of_reach_takes_the_best_rate_and_says_so():
    """The largest fall is 0.25 of 4 nats: 6.25 %, at 5e-3."""
    step = Step(index=0, line=Parabola())
    rate = follow.rate(follow.Params(kind="follow", decrease=0.08), {}, step)
    assert rate == pytest.approx(5e-3, rel=0.05)
    assert (step.asked, step.reached) == (0.08, False)
    assert step.achieved == pytest.approx(0.0625, rel=0.01)


@pytest.mark.parametrize("module", [follow, best])
def test_no_descent_takes_no_step_and_searches_again_later(module):
    kind = module.__name__.rpartition(".")[2]
    params = module.Params(kind=kind, **({"decrease": 0.02} if kind == "follow" else {}))
    memory = {}
    step = Step(index=0, line=Parabola(g=-100.0))
    assert module.rate(params, memory, step) == 0.0
    assert not step.reached and math.isnan(step.achieved)
    assert module.rate(params, memory, Step(index=1, line=Parabola())) > 0


@pytest.mark.parametrize(("every", "searched"), [(1, 6), (2, 3), ("step", 6), ("epoch", 2)])
def test_follow_keeps_the_rate_between_searches(every, searched):
    params = follow.Params(kind="follow", decrease=0.02, every=every)
    memory, asked, rates = {}, [], []
    for index in range(6):
        step = Step(index=index, line=Parabola(g=100.0 - 5 * index), steps_per_epoch=3)
        rates.append(follow.rate(params, memory, step))
        asked.append(not math.isnan(step.asked))
    assert sum(asked) == searched
    for before, after, anew in zip(rates, rates[1:], asked[1:], strict=False):
        assert anew or before == after


def test_best_takes_the_minimum():
    memory = {}
    params = best.Params(kind="best")
    for index, g in enumerate([100.0, 60.0, 140.0]):
        step = Step(index=index, line=Parabola(g=g))
        assert best.rate(params, memory, step) == pytest.approx(g / 2e4, rel=0.05)
        assert math.isnan(step.asked)
        assert step.achieved == pytest.approx(g**2 / 4e4 / 4.0, rel=0.01)


def plateau_rates(drifts, **changed):
    settings = {"start": 1e-3, "factor": 2.0, "window": 4, "level": 0.5, "jump": 3.0, **changed}
    params = plateau.Params(kind="plateau", **settings)
    memory = {}
    steps = [Step(index=i, line=None, mad_drift=drift) for i, drift in enumerate(drifts)]
    return [plateau.rate(params, memory, step) for step in steps]


def test_plateau_leaves_the_rate_while_drift_grows_in_proportion():
    assert plateau_rates([1e-3 * step for step in range(12)]) == [1e-3] * 12


def test_plateau_doubles_where_drift_stalls_and_waits_a_window():
    # MAD ~ step^0.3: slope 0.3 < 0.5. Updates 1 … 5 fill the first window without step 0, whose
    # logarithm does not exist; after each change four more are watched.
    drifts = [1e-3 * step**0.3 for step in range(11)]
    assert plateau_rates(drifts) == [1e-3] * 5 + [2e-3] * 4 + [4e-3] * 2


def test_plateau_halves_where_one_update_drifts_by_more_than_the_jump():
    # Drifts per update 1, 1, 1, 5 in the window: 5 > 3 medians.
    drifts = [0.0, 1.0, 2.0, 3.0, 8.0, 9.0]
    assert plateau_rates(drifts) == [1e-3] * 4 + [5e-4] * 2


MODULES = (best, cosine, cycle, fixed, follow, hold, plateau, warmup)


def test_every_policy_says_what_it_needs_and_is_named_after_its_file():
    needs = {}
    for module in MODULES:
        kind = module.__name__.rpartition(".")[2]
        assert plug_in("policies", kind, "policy") is module
        assert module.Params.model_fields["kind"].annotation.__args__ == (kind,)
        needs[kind] = (module.NEEDS_PROBE, module.NEEDS_LENGTH)
    assert [kind for kind, (probe, _) in needs.items() if probe] == ["hold"]
    assert [kind for kind, (_, length) in needs.items() if length] == ["cosine"]
    with pytest.raises(Fault, match="best, cosine, cycle, fixed, follow, hold, plateau, warmup"):
        plug_in("policies", "step", "policy")


@pytest.mark.parametrize(
    ("module", "settings", "label"),
    [
        (follow, {"decrease": 0.02}, "follow 2 %"),
        (follow, {"decrease": 0.05, "of": "initial"}, "follow 5 % of initial"),
        (follow, {"decrease": 0.05, "every": 10}, "follow 5 % per 10 steps"),
        (best, {"every": "epoch"}, "best per epoch"),
        (hold, {"decrease": -0.05}, "hold -5 %"),
    ],
)  # fmt: skip
def test_labels_tell_settings_apart(module, settings, label):
    kind = module.__name__.rpartition(".")[2]
    assert module.label(module.Params(kind=kind, **settings)) == label


def test_unknown_and_impossible_settings_are_refused():
    for mistake in ({"learning_rate": -1.0}, {"learning_rate": 1e-3, "rte": 1}, {}):
        with pytest.raises(ValidationError):
            fixed.Params(kind="fixed", **mistake)
    with pytest.raises(ValidationError):
        follow.Params(kind="follow", decrease=0.02, every=0)


def test_policies_load_no_torch():
    code = (
        "import sys; from palimpsest.core.policies import best, cosine, cycle, fixed, follow, hold,"
        " plateau, warmup; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
