"""Fits and their intervals: the public points, stated outcomes on odd data, resampling."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from law_cases import CASES, grid, theta_of

from palimpsest.core.laws import load, log_linear
from palimpsest.core.laws.fitting import Fit, fit
from palimpsest.core.laws.form import evaluate, predict
from palimpsest.core.laws.intervals import (
    Noise,
    bootstrap,
    deviations,
    interval,
    method_of,
    replicate_noise,
)
from palimpsest.core.laws.points import Points, gather
from palimpsest.core.laws.study.curves import FACTORS
from palimpsest.core.laws.summary import ends_within
from palimpsest.core.laws.table import fit_table
from palimpsest.core.laws.validation import (
    held_out,
    misses_points,
    predict_unseen,
    quick_fit,
)
from palimpsest.faults import Fault

PUBLISHED = Path(__file__).parents[2] / "shared" / "reference" / "chinchilla_points.csv"
COLUMNS = {"N": "Model Size", "D": "D", "L": "loss"}
RATIOS = (0.0, 0.05, 0.1, 0.25, 0.5, 0.75)


@pytest.fixture(autouse=True)
def no_numpy_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture(scope="module")
def chinchilla() -> Points:
    if not PUBLISHED.exists():
        pytest.skip("the published points are not beside the project: they carry no licence")
    frame = pd.read_csv(PUBLISHED)
    frame["D"] = frame["Training FLOP"] / (6 * frame["Model Size"])
    frame = frame.sort_values("loss").iloc[:-5]
    return gather(frame, load("chinchilla"), COLUMNS)


def test_chinchilla_optimum_by_both_routes(chinchilla: Points) -> None:
    fitted = fit(load("chinchilla"), chinchilla)
    assert len(chinchilla) == 240
    assert fitted.fitted
    assert fitted.objective <= 1.01827405e-3
    second = fitted.routes["projection"]
    assert second["objective"] == pytest.approx(fitted.objective, rel=1e-6)
    for parameters in (fitted.parameters, second["parameters"]):
        assert parameters["alpha"] == pytest.approx(0.34731, abs=2e-5)
        assert parameters["beta"] == pytest.approx(0.36717, abs=2e-5)
        assert parameters["E"] == pytest.approx(1.81722, abs=2e-5)


def test_chinchilla_intervals(chinchilla: Points) -> None:
    fitted = fit(load("chinchilla"), chinchilla)
    draws = bootstrap(fitted, chinchilla, n_draws=4000, seed=0)
    low, high = interval(draws.theta, confidence=0.95)
    assert draws.method == "points"
    assert [low[3], high[3]] == pytest.approx([0.317, 0.373], abs=0.004)
    assert [low[4], high[4]] == pytest.approx([0.331, 0.415], abs=0.004)


def test_chinchilla_predicts_larger_runs(chinchilla: Points) -> None:
    flops = 6 * chinchilla.x["N"] * chinchilla.x["D"]
    unseen = flops > 1e20
    predicted, reason = predict_unseen(load("chinchilla"), chinchilla, unseen)
    assert reason == ""
    error = np.abs(predicted / chinchilla.y[unseen] - 1)
    assert int(unseen.sum()) == 104
    assert 100 * error.mean() == pytest.approx(0.89, abs=0.05)


def replay_points(
    level: float = 0.0,
    *,
    ratios: tuple[float, ...] = RATIOS,
    n_seeds: int = 3,
    fall: float = 0.8,
    noise: float = 0.01,
) -> Points:
    p = np.tile(ratios, n_seeds)
    kicks = noise * np.random.default_rng(0).standard_normal(len(p))
    y = level + fall * (1 + 20 * p) ** -0.7 + kicks
    cell = np.tile(np.arange(len(ratios)), n_seeds)
    return Points({"p": p}, y, np.arange(len(p)), cell)


def test_negative_forgetting_is_fitted_as_it_is() -> None:
    above = fit(load("replay-share"), replay_points(0.0), noise=0.01)
    below = fit(load("replay-share"), replay_points(-1.0), noise=0.01)
    assert above.fitted and below.fitted
    assert below.parameters["a"] == pytest.approx(above.parameters["a"], rel=1e-3)
    assert below.parameters["F_inf"] == pytest.approx(above.parameters["F_inf"] - 1, abs=1e-3)


def test_a_flat_effect_is_refused() -> None:
    for name in ("replay-share", "replay-exponential", "replay-line"):
        fitted = fit(load(name), replay_points(0.3, fall=0.0), noise=0.01)
        assert fitted.status == "refused"
        assert "flat" in fitted.reason or "not identified" in fitted.reason


def test_too_few_settings_are_refused_with_their_number() -> None:
    one = fit(load("replay-share"), replay_points(ratios=(0.5,)))
    assert (one.status, one.reason) == ("refused", "needs 5 values of p, there are 1")
    x, _ = CASES["decrease-lr"]
    two_sizes = Points(x, np.ones(15), None, np.arange(15)).where(x["N"] < 2e5)
    assert fit(load("decrease-lr"), two_sizes).reason == "needs 3 values of N, there are 2"
    four = fit(load("replay-share"), replay_points(ratios=RATIOS[:5]))
    assert four.fitted


def test_more_parameters_than_settings_are_refused() -> None:
    x = grid(N=(1e8, 1e9, 2e9, 4e9), D=(1e9,))
    law = load("chinchilla").fix(beta=0.3)
    fitted = fit(law, Points(x, np.array([3.0, 2.5, 2.4, 2.3]), None, np.arange(4)))
    assert fitted.status == "refused"
    assert "D" in fitted.reason


def test_impossible_inputs_are_refused() -> None:
    points = replay_points()
    outside = Points({"p": points.x["p"] * 3}, points.y, points.run, points.cell)
    assert "lie outside 0..1" in fit(load("replay-share"), outside).reason
    x, _ = CASES["power"]
    negative = Points(x, np.array([3.0, 2.0, 1.0, 0.5, -0.1]), None, np.arange(5))
    assert "must be positive" in fit(load("power"), negative).reason


def test_one_seed_gives_no_interval() -> None:
    points = replay_points(n_seeds=1)
    fitted = fit(load("replay-exponential"), points)
    draws = bootstrap(fitted, points, n_draws=100, seed=0)
    assert replicate_noise(points, fitted.law) is None
    assert not draws.decided
    assert draws.reason == "no setting was run with a second seed: no interval"


def test_replicate_noise_by_hand() -> None:
    cell = np.array([0, 0, 0, 1, 1, 2])
    y = np.array([1.0, 2.0, 3.0, 5.0, 7.0, 9.0])
    points = Points({"p": cell / 10}, y, np.arange(6), cell)
    noise = replicate_noise(points, load("replay-line"))
    assert noise is not None
    assert noise.n_free == 3
    assert noise.sigma == pytest.approx(np.sqrt((2 + 2) / 3))
    assert method_of(points, noise) == "runs"
    assert method_of(points.where(cell == 0), noise) == "seeds"


def test_the_deviations_of_all_settings_are_pooled_by_hand() -> None:
    """Two settings of two places: (∓1, 0) and (0, ∓2), of mean square (2 + 8) / 2."""
    first, second = np.array([[1.0, 2.0], [3.0, 2.0]]), np.array([[5.0, 0.0], [5.0, 4.0]])
    pooled = deviations([first, np.array([[1.0], [2.0]]), second])
    away = np.array([[-1, 0], [1, 0], [0, -2], [0, 2]]) / np.sqrt(5)
    np.testing.assert_allclose(pooled[2], away)
    np.testing.assert_allclose(pooled[1], np.array([[-1], [1]]) / np.sqrt(2))


@pytest.mark.parametrize("value", [0.1, 1.0 / 3, 4.8])
def test_seeds_that_are_copies_give_no_interval(value: float) -> None:
    cell = np.repeat(np.arange(3), 3)
    points = Points({"x": cell.astype(float)}, value + 0.1 * cell, np.arange(9), cell)
    law = load("constant")
    assert replicate_noise(points, law) is None
    draws = bootstrap(fit(law, points), points, n_draws=50, seed=0)
    assert not draws.decided
    assert draws.reason == "no setting has seeds that differ: no interval"


def test_intervals_of_a_mean_are_those_of_the_t_distribution() -> None:
    """A constant fitted to 30 settings of 3 seeds: its interval is known in closed form."""
    cell = np.repeat(np.arange(30), 3)
    y = np.random.default_rng(1).standard_normal(90)
    points = Points({"x": cell.astype(float)}, y, np.arange(90), cell)
    noise = replicate_noise(points, load("constant"))
    assert noise is not None
    fitted = fit(load("constant"), points, noise=noise.sigma)
    for drawn in (points, Points(points.x, y, points.run, np.append(cell[:-1], 99))):
        draws = bootstrap(fitted, drawn, noise=noise, n_draws=2000, seed=0)
        low, high = interval(draws.theta[:, 0], confidence=0.95)
        expected = 2 * 2.0 * noise.sigma / np.sqrt(90) * 1.03  # Huber's price is 2.5 %
        assert high - low == pytest.approx(expected, rel=0.15)


def test_rows_without_numbers_and_repeated_runs_are_left_out_and_counted() -> None:
    frame = pd.DataFrame(
        {
            "run": ["a", "b", "c", "c", "d", "e"],
            "p": [0.0, 0.25, 0.5, 0.5, 0.75, 0.1],
            "F": [0.9, 0.5, 0.4, 0.4, np.nan, 0.7],
        }
    )
    points = gather(frame, load("replay-line"), {"p": "p", "F": "F"}, run="run")
    assert (len(points), points.n_missing, points.n_repeated) == (4, 1, 1)


def test_unknown_columns_are_faults() -> None:
    frame = pd.DataFrame({"p": [0.0], "F": [1.0]})
    with pytest.raises(Fault, match="nothing stands for F"):
        gather(frame, load("replay-line"), {"p": "p"})
    with pytest.raises(Fault, match="no column 'loss'"):
        gather(frame, load("replay-line"), {"p": "p", "F": "loss"})


def test_a_whole_table_gives_the_documented_record() -> None:
    points = replay_points()
    frame = pd.DataFrame({"ratio": points.x["p"], "lost": points.y, "run": points.run})
    record = fit_table(frame, "replay-share", {"p": "ratio", "F": "lost"}, n_draws=200, run="run")
    exponent = record["parameters"]["a"]
    assert exponent["low"] < exponent["value"] < exponent["high"]
    assert record["parameters"]["F_0"]["value"] > 0
    assert {row["form"] for row in record["held_out"]} == {
        "replay-share",
        "log-linear",
        "constant",
    }
    assert set(record["delta_moves"]) == {"delta x 0.1", "delta x 10"}


def two_seeds(bend: float) -> Points:
    """Four ratios of two seeds each, 0.02 apart, whose means leave a line by `bend` or not."""
    p = np.repeat([0.0, 0.25, 0.5, 0.75], 2)
    means = 1 - 0.4 * p + bend * np.repeat([1.0, -1.0, -1.0, 1.0], 2)
    return Points({"p": p}, means + np.tile([-0.01, 0.01], 4), np.arange(8), np.repeat(range(4), 2))


@pytest.mark.parametrize(("bend", "misses"), [(0.0, False), (0.008, False), (0.05, True)])
def test_a_law_misses_its_points_where_seeds_do_not_explain_the_distance(
    bend: float, misses: bool
) -> None:
    """By hand: with the means off by b, F = (8 b² + 8 · 0.01²)/6 / (8 · 0.01²/4).

    0.66 without a bend, 1.1 at b = 0.008, 17.3 at b = 0.05; the 97.5 % point of F(6, 4) is 9.2.
    """
    law, points = load("replay-line"), two_seeds(bend)
    noise = replicate_noise(points, law)
    assert noise is not None
    assert (noise.n_free, noise.sigma) == (4, pytest.approx(np.sqrt(8 * 0.01**2 / 4)))
    fitted = quick_fit(law, points, noise=10.0)  # so wide that Huber's loss is least squares
    assert misses_points(fitted, points, noise=noise) is misses


def test_the_points_of_one_run_count_once_for_a_misfit() -> None:
    """Runs that lie off as a whole are as unusual with twenty checkpoints as with one.

    F = (8 · 0.015² + 8 · 0.01²)/6 / σ² = 2.2, below the 2.5 of 6 runs; 160 points that were taken
    for independent would be held against 1.3.
    """
    few, law = two_seeds(0.015), load("replay-line")
    noise = Noise(np.sqrt(2e-4), n_free=200)
    assert few.run is not None
    order = np.repeat(np.arange(8), 20)
    many = Points({"p": few.x["p"][order]}, few.y[order], few.run[order], few.cell[order])
    for points in (few, many):
        fitted = quick_fit(law, points, noise=10.0)
        assert misses_points(fitted, points, noise=noise) is False


def test_without_replicates_no_law_is_said_to_miss() -> None:
    points = replay_points(n_seeds=1)
    fitted = fit(load("replay-exponential"), points)
    assert misses_points(fitted, points, noise=None) is None


def test_an_interval_ends_nowhere_where_the_domain_stopped_it() -> None:
    inside = np.linspace(1.0, 2.0, 100)
    assert ends_within(inside, confidence=0.9) == pytest.approx({"low": 1.05, "high": 1.95})
    stopped = np.append(inside[:90], np.full(10, 2.0))
    assert ends_within(stopped, confidence=0.9)["high"] is None
    assert ends_within(-stopped, confidence=0.9)["low"] is None


def test_held_out_errors_by_hand() -> None:
    """A line through three ratios predicts the fourth exactly; the constant misses by 0.2."""
    p = np.array([0.0, 0.25, 0.5, 0.75])
    points = Points({"p": p}, 1 - 0.4 * p, None, np.arange(4))
    rows = held_out(load("replay-line"), points, noise=0.01)
    error = {row["form"]: row["error"] for row in rows}
    assert error["replay-line"] == pytest.approx(0.0, abs=1e-9)
    # Huber's constant is near the mean of the other three: .2, .0667, .0667, .2 away
    assert error["constant"] == pytest.approx(0.1333, abs=0.02)


def test_an_ablation_has_fewer_parameters_and_fits_worse() -> None:
    x, truth = CASES["replay-size"]
    law = load("replay-size")
    y = predict(law, theta_of(law, truth), x)[0]
    points = Points(x, y, None, np.arange(len(y)))
    without_size = law.fix(g=0.0)
    assert without_size.parameters == ("F_inf", "F_0", "a", "B")
    worse: Fit = fit(without_size, points, noise=0.01)
    assert worse.objective > 1.0


def test_without_the_clock_forgetting_does_not_change_along_a_run() -> None:
    """B (1 + B_p p)^-a N^-g at any S: 2 without replay, 2 (1 + 3)^-0.5 = 1 at 10 percent."""
    law = load("joint").fix(**FACTORS["clock"])
    assert law.parameters == ("B", "B_p", "a", "g")
    theta = np.array([[2.0, np.log(30.0), 0.5, 0.0]])
    S = np.array([1e-8, 1.0, 1e12])
    for share, forgotten in ((0.0, 2.0), (0.1, 1.0)):
        x = {"S": S, "p": np.full(3, share), "N": np.full(3, 1e5)}
        value, slope = evaluate(law, theta, x)
        assert value[0] == pytest.approx([forgotten] * 3)
        assert np.isfinite(slope).all()


def test_joint_is_fitted_where_the_clock_reaches_far_beyond_its_median() -> None:
    """Rates over decades: E is 0.005 per median of S, and the curve still bends within the data."""
    S, p, N = (a.ravel() for a in np.meshgrid(np.geomspace(1e-4, 1, 9), [0, 0.1, 0.5], [2, 3, 9]))
    S = np.where(S > 0.01, 3e3 * S, S)
    truth = np.array([[2.0, 0.001, np.log(0.005 / np.median(S)), 0.8, np.log(20), 0.5, 0.1, 0.5]])
    x = {"S": S, "p": p, "N": N * 1.0}
    points = Points(x, predict(load("joint"), truth, x)[0], None, np.arange(len(S)))
    found = fit(load("joint"), points, noise=0.01)
    assert found.fitted, found.reason
    assert found.at(x) == pytest.approx(points.y, abs=1e-6)


def test_log_linear_in_any_inputs() -> None:
    law = log_linear.over(["N", "p"])
    y = predict(law, np.array([[1.0, 2.0, 3.0]]), {"N": np.array([np.e]), "p": np.array([0.99])})
    assert y[0, 0] == pytest.approx(1 + 2 + 3 * np.log(1.0))
