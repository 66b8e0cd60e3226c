from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from palimpsest.core.bootstrap import block_counts, interval, moving_blocks, resampled_spearman
from palimpsest.core.memory import fifths, memory, order_memory_over_seeds, spearman
from palimpsest.core.tables.memory import memory_table


def test_three_pieces_by_hand() -> None:
    """The F_after of the 3 × 3 matrix in test_measures.py: falling, so ρ = −1."""
    row = memory(np.array([1.5, 0.25, 0.0]), np.array([-0.5, -2.25, -4.0]), None)
    assert row["spearman"] == -1
    assert row["primacy_nats"] == 0.25 - 1.5  # the first is remembered worse than the middle
    assert row["recency_nats"] == 0.25 - 0.0  # the last is remembered better
    assert row["F_after_fifth_1"] == 1.5 and np.isnan(row["F_after_fifth_2"])
    assert np.isnan(row["order_memory"]) and np.isnan(row["low"])
    assert np.isnan(row["primacy_nats_low"])


def test_spearman_is_scipys() -> None:
    random = np.random.default_rng(0)
    for row in random.integers(0, 6, size=(4, 20)).astype(float):  # with ties
        assert spearman(row) == pytest.approx(spearmanr(np.arange(20), row).statistic)
    assert np.isnan(spearman(np.ones(5)))


def test_fifths_of_ten() -> None:
    assert fifths(np.arange(10.0)).tolist() == [0.5, 2.5, 4.5, 6.5, 8.5]


def test_order_memory_is_the_difference_to_the_shuffled_control() -> None:
    falling, control = np.linspace(1, -1, 40), np.tile([0.1, -0.1, 0.3, 0.0], 10)
    row = memory(falling, falling, control)
    assert row["spearman"] == pytest.approx(-1)
    assert row["order_memory"] == pytest.approx(-1 - spearman(control))
    assert row["low"] < row["order_memory"] < row["high"] < 0
    assert row["primacy_nats"] < 0 < row["recency_nats"]
    assert row["recency_nats_low"] < row["recency_nats"] < row["recency_nats_high"]


def test_the_control_by_place_in_the_story_is_told_beside() -> None:
    """Five pieces trained on as 4, 2, 0, 1, 3 of the story, forgotten by their turn."""
    falling = np.array([0.4, 0.2, 0.0, -0.2, -0.4])
    story = falling[np.argsort([4, 2, 0, 1, 3])]  # 0, −0.2, 0.2, −0.4, 0.4
    row = memory(falling, falling, falling, control_in_story=story)
    assert row["order_memory"] == 0 and row["spearman_control"] == -1
    # ranks 3, 2, 4, 1, 5 against 1 … 5: squares 4 + 0 + 1 + 9 + 0 = 14, ρ = 1 − 6·14/120
    assert row["spearman_control_story"] == pytest.approx(0.3)
    fifths = [row[f"F_after_control_story_fifth_{k}"] for k in range(1, 6)]
    assert fifths == [0.0, -0.2, 0.2, -0.4, 0.4]
    assert np.isnan(memory(falling, falling, falling)["spearman_control_story"])


def test_seeds_that_agree_are_surer_than_one_and_two_give_no_interval() -> None:
    random = np.random.default_rng(3)
    pairs = [(np.linspace(1, -1, 40) + random.normal(0, 1, 40), random.normal(0, 1, 40))] * 5
    pooled = order_memory_over_seeds(pairs)
    one = memory(pairs[0][0], pairs[0][0], pairs[0][1])
    assert pooled["order_memory"] == pytest.approx(one["order_memory"])
    assert pooled["high"] - pooled["low"] < 0.7 * (one["high"] - one["low"])
    few = order_memory_over_seeds(pairs[:2])
    assert few["n_seeds"] == 2 and np.isnan(few["low"])


def test_without_memory_the_interval_covers_zero_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(60):
        series, control = random.standard_normal((2, 50))
        row = memory(series, series, control)
        covered += row["low"] <= 0 <= row["high"]
    assert covered >= 51  # 95 % of 60, less three standard deviations


def test_blocks_keep_neighbours() -> None:
    drawn = moving_blocks(27, n_resamples=50, random=np.random.default_rng(0))
    assert drawn.shape == (50, 27) and drawn.min() >= 0 and drawn.max() <= 26
    assert (np.diff(drawn.reshape(50, 9, 3), axis=2) == 1).all()


def test_resampled_spearman_is_scipys_on_each_resample() -> None:
    values = np.random.default_rng(0).integers(0, 8, size=15).astype(float)  # with ties
    drawn = moving_blocks(15, n_resamples=20, random=np.random.default_rng(1))
    counts = block_counts(15, n_resamples=20, random=np.random.default_rng(1))
    expected = [spearmanr(places, values[places]).statistic for places in drawn]
    assert resampled_spearman(values, counts) == pytest.approx(expected)


def test_an_interval_of_mostly_undefined_samples_is_none() -> None:
    assert np.isnan(interval(np.array([1.0] * 8 + [np.nan] * 2), confidence=0.95)[0])
    low, high = interval(np.arange(101.0), confidence=0.9)
    assert (low, high) == pytest.approx((5, 95))


def test_recovery_is_the_share_of_all_that_was_lost() -> None:
    """Piece 0 loses 1 nat and regains .2 before it comes round; piece 1 loses .01, regains .5."""
    pieces = pd.DataFrame({"run": "a", "piece": [0, 1], "position_rank": [0.0, 1.0]})
    pieces = pieces.assign(F_before=0.0, F_after=0.0, loss_end_nats=4.0)
    visits = pd.DataFrame({"run": "a", "piece": [0, 1], "loss_after_nats": [4.0, 4.0]})
    visits = visits.assign(peak_nats=[5.0, 4.01], anticipation_nats=[0.2, 0.5], F_between=[0.8, 0])
    table = memory_table(pieces, visits=visits, controls={}, settings={"a": "a"})
    assert table.recovery.tolist() == pytest.approx([0.7 / 1.01])
    assert table.n_returns.tolist() == [2]
