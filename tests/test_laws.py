"""Every law: its numbers worked out by hand, its gradient, and recovery from noiseless data."""

from __future__ import annotations

import numpy as np
import pytest
from law_cases import CASES, theta_of

from palimpsest.core.laws import load, names
from palimpsest.core.laws.annealing import annealing_area
from palimpsest.core.laws.fitting import fit
from palimpsest.core.laws.form import evaluate, predict
from palimpsest.core.laws.points import Points
from palimpsest.faults import Fault

SLOW = {"joint", "cpt-dynamics", "d-cpt", "repeated-data"}


def value(name: str, parameters: dict[str, float], **x: float) -> float:
    law = load(name)
    inputs = {symbol: np.array([number]) for symbol, number in x.items()}
    return float(predict(law, theta_of(law, parameters), inputs)[0, 0])


def test_values_worked_out_by_hand() -> None:
    assert value("power", {"E": 2, "A": 6, "alpha": 0.5}, x=9.0) == pytest.approx(4.0)
    chinchilla = {"E": 1, "A": 10, "B": 100, "alpha": 0.5, "beta": 1.0}
    assert value("chinchilla", chinchilla, N=100.0, D=50.0) == pytest.approx(1 + 1 + 2)
    share = {"F_inf": 0.1, "F_0": 0.8, "B": 6.0, "a": 1.0}
    assert value("replay-share", share, p=0.5) == pytest.approx(0.1 + 0.8 / 4)
    rate = {"ln_c": np.log(2.0), "kappa": 0.5, "nu": 1.0}
    assert value("decrease-lr", rate, N=1e4, f=0.05) == pytest.approx(2 * 0.01 * 0.05)
    injection = {"A": 3.0, "offset": -0.1, "beta": 0.5, "alpha": 0.5, "B": 3.0}
    assert value("injection", injection, T=16.0, p=1.0, N=9.0) == pytest.approx(3 * 4 / 6 - 0.1)
    joint = {"B": 4.0, "G": 0.1, "E": 1.0, "beta": 1.0, "B_p": 3.0, "a": 0.5, "g": 0.0, "h": 1.0}
    assert value("joint", joint, S=1.0, p=1.0, N=5.0) == pytest.approx(4 * 0.5 * 0.5 - 0.1)
    line = {"s": 5.0, "c": 0.5}
    assert value("forgetting-line", line, L_new=3.0) == pytest.approx(3.5)
    assert value("cmr", {"a": -1.0, "b": 3.0, "s": 0.5}, q=0.25) == pytest.approx(2.5)


def test_repeated_tokens_are_worth_ever_less() -> None:
    law = {"E": 0.0, "A": 0.0, "B": 1.0, "alpha": 1.0, "beta": 1.0, "R_star": 2.0}
    once = value("repeated-data", law, N=1.0, U=10.0, R=0.0)
    endless = value("repeated-data", law, N=1.0, U=10.0, R=1e6)
    assert once == pytest.approx(1 / 10)
    assert endless == pytest.approx(1 / 30)  # at most 1 + R_star times the unique tokens


def test_annealing_area_of_a_rate_that_falls_once() -> None:
    area = annealing_area(np.array([2.0, 2.0, 1.0, 1.0]), memory=0.5)
    assert area.tolist() == [0.0, 0.0, 1.0, 1.5]


@pytest.mark.parametrize("name", sorted(CASES))
def test_gradient_is_the_slope_of_the_law(name: str) -> None:
    x, truth = CASES[name]
    law = load(name)
    theta = theta_of(law, truth)
    _, jacobian = evaluate(law, theta, x)
    for k in range(theta.shape[1]):
        step = np.zeros_like(theta)
        step[0, k] = 1e-5 * max(1.0, abs(theta[0, k]))
        slope = (evaluate(law, theta + step, x)[0] - evaluate(law, theta - step, x)[0]) / (
            2 * step[0, k]
        )
        size = np.abs(jacobian[:, :, k]).max()
        assert np.abs(slope - jacobian[:, :, k]).max() <= 1e-6 * size


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in sorted(CASES)]
)
def test_noiseless_data_are_predicted_exactly(name: str) -> None:
    x, truth = CASES[name]
    law = load(name)
    y = predict(law, theta_of(law, truth), x)[0]
    fitted = fit(law, Points(x, y, None, np.arange(len(y))))
    assert fitted.fitted, fitted.reason
    assert np.abs(fitted.at(x) - y).max() <= 1e-6


def test_all_laws_have_a_case_and_their_own_name() -> None:
    assert set(names()) == set(CASES)
    assert all(load(name).name == name for name in names())


def test_a_misspelt_law_is_a_fault_with_the_nearest_name() -> None:
    with pytest.raises(Fault, match="did you mean 'chinchilla'"):
        load("chinchila")
    with pytest.raises(Fault):
        load("fitting")
