from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from report_frames import NO_FITS, frames, run, sweep

from palimpsest.core.answers import numbers, rates, replay
from palimpsest.core.seeds import (
    combined,
    one_cell,
    over_seeds,
    paired,
    rank_correlation,
    reach,
)

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


def test_the_interval_of_three_values() -> None:
    cell = one_cell([1.0, 2.0, 3.0])
    assert (cell["mean"].iloc[0], reach(cell).iloc[0]) == pytest.approx((2.0, T_2 / 3**0.5))


def test_rank_correlation_needs_five_points_and_sees_order_only() -> None:
    x = pd.Series([1.0, 2.0, 3.0, 4.0, 5.0])
    assert np.isnan(rank_correlation(x[:4], x[:4])[0])
    # perfect order of five counts as half a swap short of it: a swap of neighbours gives 0.9
    for sign in (1, -1):
        z, error = rank_correlation(x, sign * np.exp(x))
        assert np.tanh(z) == pytest.approx(sign * 0.95)
        assert error == pytest.approx(((1 + 0.95**2 / 2) / 2) ** 0.5)


def test_correlations_of_several_sizes_are_joined_by_their_precision() -> None:
    one = (np.arctanh(0.5), 0.2)
    rho, low, high = combined([one, one, (np.nan, np.nan)])
    assert rho == pytest.approx(0.5)
    assert np.arctanh(high) - np.arctanh(low) == pytest.approx(2 * 1.959964 * 0.2 / 2**0.5)


def test_settings_of_three_seeds_keep_their_own_spread_where_asked() -> None:
    table = pd.DataFrame(
        {"cell": ["a"] * 3 + ["b"], "seed": [0, 1, 2, 0], "x": [1.0, 2.0, 3.0, 9.0]}
    )
    more = pd.concat([table, pd.DataFrame({"cell": "c", "seed": [0, 1], "x": [0.0, 10.0]})])
    cells = over_seeds(more, "x", by=["cell"], own=True).set_index("cell")
    assert cells.loc["a", "stderr"] == pytest.approx(1 / 3**0.5)
    assert cells.loc["a", "n_free"] == 2
    pooled = ((2 + 50) / 3) ** 0.5  # squares about the means of a and c over 2 + 1 freedoms
    assert cells.loc["b", "stderr"] == pytest.approx(pooled)
    assert cells.loc["c", "stderr"] == pytest.approx(pooled / 2**0.5)


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
    rows = [
        ("small", 100_000, 0, 0.0, "edge", np.nan, 1e-2, 9e-3, 2e-2, 8, 8),
        ("small", 100_000, 0, 0.0, "decrease", 0.01, 1e-4, 9e-5, 2e-4, 8, 8),
    ]
    table = pd.DataFrame(rows, columns=frames([]).rates.columns)
    answer = rates.never_learn(frames(study, rates=table))
    assert (answer.verdict, answer.value) == ("no", "0 of 3 settings")


def test_several_claims_share_their_five_percent() -> None:
    cell = one_cell([1.0, 2.0, 3.0])
    # Student's 99.5 % quantile for 2 degrees of freedom: 5 claims share 5 %
    assert reach(cell, n_tests=5).iloc[0] == pytest.approx(9.924843 / 3**0.5)


def test_seeds_are_compared_one_by_one() -> None:
    first = pd.DataFrame({"cell": "a", "seed": [0, 1], "x": [1.0, 2.0]})
    second = pd.DataFrame({"cell": "a", "seed": [1, 2], "x": [5.0, 9.0]})
    gaps = paired(first, second, "x", by=["cell"])
    assert gaps.to_dict("records") == [{"cell": "a", "seed": 1, "gap": 3.0}]


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


def test_decreases_below_a_percent_keep_rows_of_their_own() -> None:
    """1.5 and 2 % are both 2 % without decimals, and 0.1 % is 0 %; the law is of 2 % alone."""
    rows = [
        ("small", 100, 0, 0.0, "decrease", decrease, eta, eta, eta, 8, 8)
        for decrease, eta in ((0.001, 1e-4), (0.015, 1e-3), (0.02, 2e-3))
    ]
    law = {"target": "decrease", "decrease": 0.02, "n_params": 100, "low": 1e-3, "high": 3e-3}
    table = pd.DataFrame(rows, columns=frames([]).rates.columns)
    answer = rates.by_size(frames([], rates=table, fits={**NO_FITS, "rates": [law]}))
    names = [f"η for {share}\u202f%" for share in ("0.1", "1.5", "2")]
    assert answer.header == ("size", *names, "largest decrease")
    assert answer.rows[0][1:4] == ("1.0e-4", "1.0e-3", "2.0e-3 (1.0e-3 to 3.0e-3)")


def test_the_answer_says_that_the_control_sees_fewer_tokens() -> None:
    study = sweep({0.0: 0.5, 0.5: 0.02, 0.75: 0.01, 1.0: 0.0})
    for one in study:
        ratio = one["replay_fraction"]
        one["n_replay_tokens"] = 1000 * ratio / (1 - ratio) if ratio < 1 else 1000
    sentence = replay.prevents(frames(study)).sentence
    assert "1\u202fk original tokens, fewer than the 3\u202fk of the runs at 75\u202f%" in sentence
    assert "control" not in replay.prevents(frames(study[:4])).sentence
