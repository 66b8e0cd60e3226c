"""A run of three steps, one piece each, checkpoints after every step.

The matrix M[c, b] in nats, worked on by hand: piece 0 is seen at step 1, 1 at 2, 2 at 3.

    c \\ b   0    1    2
    0      6.0  7.0  8.0     θ₀
    1      4.0  6.5  7.5     after piece 0
    2      4.5  4.0  7.0     after piece 1
    3      5.5  4.25 3.0     after piece 2, the end
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from palimpsest.core.measures import clock_readings, lag_curves, returns, signed_forgetting

MATRIX = [[6.0, 7.0, 8.0], [4.0, 6.5, 7.5], [4.5, 4.0, 7.0], [5.5, 4.25, 3.0]]


def rows(values: list[tuple[int, int, float, str]], run: str = "a") -> pd.DataFrame:
    columns = ["checkpoint_step", "piece", "loss_nats", "measured"]
    return pd.DataFrame(values, columns=columns).assign(run=run)


def three_by_three() -> pd.DataFrame:
    values = [(c, b, MATRIX[c][b], "checkpoint") for c in range(4) for b in range(3)]
    values += [(b, b, MATRIX[b][b], "before_first") for b in range(3)]
    values += [(b + 1, b, MATRIX[b + 1][b], "after_last") for b in range(3)]
    return rows(values)


def pieces() -> pd.DataFrame:
    steps = [1, 2, 3]
    return pd.DataFrame({"run": "a", "piece": [0, 1, 2], "first_step": steps, "last_step": steps})


def steps() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "run": "a",
            "step": [1, 2, 3],
            "learning_rate": [0.1, 0.2, 0.3],
            "update_norm": [1.0, 2.0, 4.0],
            "relative_drift": [0.01, 0.02, 0.015],
            "decrease_achieved": [0.05, np.nan, 0.05],
        }
    )


def test_forgetting_of_the_hand_made_matrix() -> None:
    table = signed_forgetting(three_by_three(), pieces())
    assert table.position_rank.tolist() == [0, 0.5, 1]
    # against just before it was seen: 5.5 − 6, 4.25 − 6.5, 3 − 7: all still better
    assert table.F_before.tolist() == [-0.5, -2.25, -4.0]
    # against just after: 5.5 − 4, 4.25 − 4, 3 − 3: lost since, the earlier the more
    assert table.F_after.tolist() == [1.5, 0.25, 0.0]


def test_lag_curves_of_the_hand_made_matrix() -> None:
    recall = three_by_three()
    lag = lag_curves(recall, signed_forgetting(recall, pieces()), clock_readings(steps()))
    first = lag[lag.piece == 0]
    assert first.checkpoint_step.tolist() == [1, 2, 3]
    assert first.F.tolist() == [0.0, 0.5, 1.5]
    assert first.lag_steps.tolist() == [0, 1, 2]
    assert first.lag_sum_learning_rate.tolist() == pytest.approx([0, 0.2, 0.5])
    assert first.lag_update_norm.tolist() == [0, 2, 6]
    assert first.lag_relative_drift.tolist() == pytest.approx([0, 0.01, 0.005])
    assert first.lag_sum_decrease.isna().tolist() == [False, True, True]  # step 2 is unmeasured
    assert len(lag) == 3 + 2 + 1


def test_an_unmeasured_moment_leaves_its_forgetting_undefined() -> None:
    recall = three_by_three().query("not (measured == 'after_last' and piece == 1)")
    table = signed_forgetting(recall, pieces())
    assert table.F_after.isna().tolist() == [False, True, False]
    assert table.F_before.notna().all()


def test_runs_do_not_mix() -> None:
    both = pd.concat([three_by_three(), three_by_three().assign(run="b", loss_nats=1.0)])
    seen = pd.concat([pieces(), pieces().assign(run="b")])
    table = signed_forgetting(both, seen)
    assert table[table.run == "a"].F_after.tolist() == [1.5, 0.25, 0.0]
    assert table[table.run == "b"].F_after.tolist() == [0, 0, 0]


def test_what_comes_back_before_the_second_pass() -> None:
    """Seen at step 1 (loss 4), worst 6 at step 5, already 5 again just before step 10."""
    recall = rows(
        [
            (0, 0, 7.0, "before_first"),
            (1, 0, 4.0, "after_last"),
            (3, 0, 5.5, "checkpoint"),
            (5, 0, 6.0, "checkpoint"),
            (9, 0, 5.0, "before_first"),
            (10, 0, 3.0, "after_last"),
            (12, 0, 9.0, "checkpoint"),
        ]
    )
    table = returns(recall)
    assert len(table) == 1
    row = table.iloc[0]
    assert (row.last_step, row.next_step) == (1, 9)
    assert row.F_between == 1.0
    assert row.peak_nats == 6.0
    assert row.anticipation_nats == 1.0
    assert row.recovery == 0.5
