from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from report_frames import NO_FITS, frames, run, sweep

from palimpsest.core.answers import drift, memory, numbers, policies, rates, replay
from palimpsest.core.answers.every import answers
from palimpsest.core.answers.recommend import recommend
from palimpsest.core.answers.seeds import mean_interval, over_seeds, rank_correlation

T_1, T_2 = 12.7062047, 4.3026527  # Student's 97.5 % quantiles for 1 and 2 degrees of freedom


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (numbers.nats(0.14159), "0.142"),
        (numbers.nats(-0.0001), "0.000"),
        (numbers.nats(-0.25, signed=True), "−0.250"),
        (numbers.rate(0.00123), "1.2e-3"),
        (numbers.rate(float("nan")), "–"),
        (numbers.percent(0.25), "25\u202f%"),
        (numbers.count(25_344), "25.3\u202fk"),
        (numbers.between(0.1, float("nan")), "no interval"),
    ],
)
def test_numbers_are_written_for_people(text: str, expected: str) -> None:
    assert text == expected


def test_a_single_seed_borrows_the_spread_of_repeated_settings() -> None:
    table = pd.DataFrame({"cell": ["a", "a", "b"], "seed": [0, 1, 0], "x": [1.0, 3.0, 5.0]})
    cells = over_seeds(table, "x", by=["cell"]).set_index("cell")
    sd = 2**0.5  # of 1 and 3
    assert cells.loc["a", "high"] - cells.loc["a", "mean"] == pytest.approx(T_1 * sd / 2**0.5)
    assert cells.loc["b", "high"] - cells.loc["b", "mean"] == pytest.approx(T_1 * sd)


def test_nothing_repeated_gives_no_interval() -> None:
    table = pd.DataFrame({"cell": ["a", "b"], "seed": [0, 0], "x": [1.0, 2.0]})
    twice = pd.concat([table, table])  # the same training again is no second seed
    for frame in (table, twice):
        cells = over_seeds(frame, "x", by=["cell"])
        assert cells.low.isna().all() and cells.high.isna().all()


def test_mean_interval_of_three_values() -> None:
    mean, low, high = mean_interval([1.0, 2.0, 3.0])
    assert (mean, high - mean) == pytest.approx((2.0, T_2 / 3**0.5))
    assert mean - low == pytest.approx(high - mean)


def test_rank_correlation_needs_five_points_and_sees_order_only() -> None:
    x = pd.Series([1.0, 2.0, 3.0, 4.0, 5.0])
    assert np.isnan(rank_correlation(x[:4], x[:4])[0])
    assert rank_correlation(x, np.exp(x))[0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("forgetting", "verdict"),
    [
        ({0.0: 0.5, 0.5: 0.02, 0.75: 0.01}, "yes"),
        ({0.0: 0.5, 0.5: 0.3, 0.75: 0.2}, "no"),
        ({0.0: 0.5, 0.5: 0.3, 0.75: 0.0499}, "not decidable"),
    ],
)
def test_replay_prevents_collapse(forgetting: dict[float, float], verdict: str) -> None:
    assert replay.prevents(frames(sweep(forgetting))).verdict == verdict


def test_the_critical_ratio_holds_at_all_larger_ones() -> None:
    cells = pd.DataFrame(
        {
            "replay_fraction": [0.0, 0.25, 0.5, 0.75],
            "verdict": ["collapsed", "prevented", "collapsed", "prevented"],
        }
    )
    assert replay.critical_ratio(cells)[0] == 0.75
    assert replay.critical_ratio(cells[:2])[0] == 0.25
    assert replay.critical_ratio(cells[:1])[0] is None


def test_a_collapsed_benchmark_overrules_a_small_loss() -> None:
    study = sweep({0.0: 0.5, 0.5: 0.02})
    keys = {"run": study[2]["run"], "model": "small", "replay_fraction": 0.5}
    evals = pd.DataFrame([{**keys, "verdict": "collapsed", "collapse": 0.4}])
    assert replay.prevents(frames(study, evals=evals)).verdict == "no"


def test_mixing_costs_learning() -> None:
    study = [
        run(replay_fraction=ratio, seed=seed, learning_nats=value + 0.001 * seed)
        for ratio, value in ((0.0, 1.0), (0.5, 0.8))
        for seed in (0, 1)
    ]
    answer = replay.cost(frames(study))
    assert (answer.verdict, answer.value) == ("yes", "0.200 nats")


def test_without_a_second_seed_the_cost_is_not_decidable() -> None:
    study = [run(), run(replay_fraction=0.5, learning_nats=0.2)]
    assert replay.cost(frames(study)).verdict == "not decidable"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.7, -0.5, "yes"), (-0.05, 0.05, "no"), (-0.5, 0.3, "not decidable")],
)
def test_order_memory(low: float, high: float, verdict: str) -> None:
    ends = {f"{name}_nats{end}": 0.1 for name in ("primacy", "recency") for end in ("", "_low")}
    ends |= {f"{name}_nats_high": 0.2 for name in ("primacy", "recency")}
    fifths = {f"F_after_fifth_{k}": 0.1 * k for k in range(1, 6)}
    row = {"control_run": "s", "order_memory": (low + high) / 2, "low": low, "high": high}
    runs = [run(run=f"t{seed}", seed=seed) for seed in range(3)]
    table = pd.DataFrame(
        {"run": f"t{seed}", **row, **ends, **fifths, "order_memory": value}
        for seed, value in enumerate((low, (low + high) / 2, high))
    )
    study = [*runs, run(run="s", order="shuffled")]
    assert memory.order(frames(study, memory=table)).verdict == verdict
    assert memory.order(frames(study, memory=table[:2])).verdict == "not decidable"


@pytest.mark.parametrize(
    ("kappa", "verdict"),
    [
        ({"value": 0.25, "low": 0.2, "high": 0.3}, "yes"),
        ({"value": 0.0, "low": -0.02, "high": 0.03}, "no"),
        ({"value": 0.1, "low": -0.1, "high": 0.3}, "not decidable"),
        ({"value": 0.25, "low": None, "high": None}, "not decidable"),
    ],
)
def test_rates_against_size(kappa: dict[str, float | None], verdict: str) -> None:
    record = {"parameters": {"kappa": {**kappa, "alone": True}}, "status": "fitted", "reason": ""}
    rows = [
        ("small", 100, 0, 0.0, "decrease", 0.05, 1e-3, 9e-4, 2e-3, 8, 8),
        ("small", 100, 0, 0.0, "largest_decrease", 0.14, np.nan, np.nan, np.nan, 8, 8),
    ]
    table = pd.DataFrame(rows, columns=frames([]).rates.columns)
    fits = {**NO_FITS, "fits": {rates.RATE_FIT: record}}
    answer = rates.by_size(frames([], rates=table, fits=fits))
    assert answer.verdict == verdict
    assert answer.rows[0][1:] == ("1.0e-3", "14.0\u202f%")


def test_following_a_decrease_against_a_fixed_rate_names_both() -> None:
    """The fixed rate stands second: what is shown is the follower's forgetting minus its own."""
    study = [
        run(policy="follow", policy_label="follow 2 %"),
        run(policy="fixed", policy_label="fixed 0.001"),
    ]
    pair = {"model": "small", "replay_fraction": 0.0, "first": "follow 2 %"}
    pair |= {"second": "fixed 0.001", "mean": 0.2, "low": 0.15, "high": 0.25}
    answer = policies.same(frames(study, fits={**NO_FITS, "equal_learning": [pair]}))
    assert answer.verdict == "no"
    assert answer.rows[0][2:5] == ("follow 2 %", "fixed 0.001", "−0.200")


def test_steps_beyond_the_edge_by_rate() -> None:
    study = [
        run(policy="fixed", policy_label=str(rate), learning_rate=rate, seed=seed)
        | {"share_beyond_edge": share + 0.01 * seed, "learning_nats": 2 * share}
        for rate, share in ((1e-3, 0.0), (3e-2, 0.5))
        for seed in (0, 1, 2)
    ]
    answer = rates.beyond_edge(frames(study))
    assert answer.value == "26.0\u202f%"
    assert answer.rows == (
        ("small", "1.0e-3", "0\u202f%", "1.0\u202f%", "0.000"),
        ("small", "3.0e-2", "0\u202f%", "51.0\u202f%", "+1.000"),
    )


def test_questions_learned_by_heart_are_no_rate_that_never_learns() -> None:
    study = [
        run(policy="fixed", policy_label=str(rate), learning_rate=rate, seed=seed, stream=stream)
        | {"learning_nats": learned + 0.001 * seed}
        for rate, stream, learned in (
            (1e-3, "chunks", 0.5),
            (2e-3, "chunks", 0.6),
            (3e-3, "chunks", 0.7),
            (4e-3, "questions", -2.0),
        )
        for seed in (0, 1, 2)
    ]
    row = ("small", 100_000, 0, 0.0, "edge", np.nan, 1e-2, 9e-3, 2e-2, 8, 8)
    table = pd.DataFrame([row], columns=frames([]).rates.columns)
    answer = rates.never_learn(frames(study, rates=table))
    assert (answer.verdict, answer.value) == ("no", "0 of 3 settings")


def test_a_rate_far_below_the_edge_that_learns_nothing() -> None:
    """The edge is 1e-2: two settings below it, of which one stays at 0.001 nats, and one beyond."""
    study = [
        run(policy="fixed", policy_label=f"fixed {rate:g}", learning_rate=rate, seed=seed)
        | {"learning_nats": learned * (1 + 0.1 * seed)}
        for rate, learned in ((1e-6, 0.001), (1e-3, 0.5), (2e-2, -0.3))
        for seed in (0, 1, 2)
    ]
    row = ("small", 100_000, 0, 0.0, "edge", np.nan, 1e-2, 9e-3, 2e-2, 8, 8)
    table = pd.DataFrame([row], columns=frames([]).rates.columns)
    answer = rates.never_learn(frames(study, rates=table))
    assert (answer.verdict, answer.value) == ("yes", "1 of 2 settings")
    assert [one[1:5] for one in answer.rows] == [
        ("fixed 1e-06", "0\u202f%", "1.0e-4", "+0.001"),
        ("fixed 0.001", "0\u202f%", "1.0e-1", "+0.550"),
        ("fixed 0.02", "0\u202f%", "2.0e0", "−0.330"),
    ]


def test_the_knee_is_the_setting_beyond_the_chord() -> None:
    points = {0.0: (1.0, 1.0), 0.25: (0.9, 0.2), 0.5: (0.5, 0.1), 0.75: (0.4, 0.3)}
    study = [
        run(
            replay_fraction=ratio,
            seed=seed,
            learning_nats=learned + 0.001 * seed,
            forgetting_nats=forgot - 0.001 * seed,
        )
        for ratio, (learned, forgot) in points.items()
        for seed in (-1, 1)
    ]
    answer = policies.knee(frames(study))
    assert answer.verdict == "yes"
    assert answer.rows == (("small", "hold 5 %", "25\u202f%", "0.900", "+0.200"),)
    assert policies.knee(frames(study[:4])).verdict == "not decidable"  # two settings: no knee
    assert policies.knee(frames(study[::2])).verdict == "not decidable"  # one seed each


def test_one_clock_makes_one_curve() -> None:
    study = [
        run(run=f"{model}-{rate}", model=model, learning_rate=rate)
        for model in ("small", "large")
        for rate in (1e-3, 4e-3)
    ]
    lags = np.arange(1, 61)
    curves = [
        pd.DataFrame(
            {
                "run": one["run"],
                "piece": 0,
                "lag_steps": lags,
                "lag_sum_learning_rate": lags * one["learning_rate"],
                "lag_update_norm": 1.0,
                "lag_relative_drift": np.nan,
                "lag_sum_decrease": np.nan,
                "F": np.log1p(lags * one["learning_rate"] / 1e-3),
            }
        )
        for one in study
    ]
    answer = drift.one_curve(frames(study, lag=pd.concat(curves)))
    assert answer.verdict == "yes"
    assert answer.value.endswith("Σ learning rate")


def test_the_recommendation_learns_most_among_the_surely_tolerable() -> None:
    study = sweep({0.0: 0.5, 0.5: 0.02, 0.75: 0.01})
    for one in study:
        one["learning_nats"] = 1 - one["replay_fraction"]
    best = recommend(frames(study))[0]
    assert (best.replay_fraction, best.tier, best.tokens_factor) == (0.5, "sure", 2.0)
    assert best.learning_lost_nats == pytest.approx(0.5)


def test_without_a_tolerable_setting_the_least_forgetting_is_shown() -> None:
    best = recommend(frames(sweep({0.0: 0.5, 0.5: 0.3})))[0]
    assert (best.replay_fraction, best.tier) == (0.5, "none")


def test_a_study_without_runs_has_fourteen_questions_not_run() -> None:
    found = answers(frames([]))
    assert [one.number for one in found] == list(range(1, 15))
    assert {one.verdict for one in found} == {"not run"}
