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

from palimpsest.core.clocks import clock_readings
from palimpsest.core.measures import (
    lag_curves,
    neighbours,
    repeats_table,
    shift_map,
    signed_forgetting,
    visits_table,
    with_decreases,
)

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


def test_clocks_stand_at_nothing_before_the_first_step() -> None:
    read = clock_readings(steps().iloc[::-1]).set_index("step")
    assert read.loc[0, list(read.columns[1:])].tolist() == [0, 0, 0, 0]
    assert read.sum_learning_rate.tolist() == pytest.approx([0, 0.1, 0.3, 0.6])
    assert read.sum_decrease.isna().tolist() == [False, False, True, True]


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


def test_what_is_left_of_each_repeat_and_of_the_next_visit() -> None:
    """Three repeats from step 1 on, 7 → 5 → 4 → 3.5; at step 9 one more, 5 → 3; the end: 4.5."""
    recall = rows(
        [
            (0, 0, 7.0, "before_first"),
            (1, 0, 5.0, "after_repeat"),
            (2, 0, 4.0, "after_repeat"),
            (2, 0, 4.0, "checkpoint"),
            (3, 0, 3.5, "after_last"),
            (8, 0, 5.0, "before_first"),
            (9, 0, 3.0, "after_last"),
            (12, 0, 4.5, "checkpoint"),
        ]
    )
    table = repeats_table(recall.iloc[::-1])
    assert table.visit.tolist() == [0, 0, 0, 1] and table.repeat.tolist() == [1, 2, 3, 1]
    assert table.n_seen.tolist() == [1, 2, 3, 4] and table.step.tolist() == [1, 2, 3, 9]
    assert table.loss_before_nats.tolist() == [7, 5, 4, 5]
    assert table.F_after.tolist() == [-0.5, 0.5, 1.0, 1.5]


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
    table = visits_table(recall)
    assert table.first_step.tolist() == [1, 10] and table.last_step.tolist() == [1, 10]
    assert table.F_before.tolist() == [2, 4] and table.F_after.tolist() == [5, 6]  # the end: 9
    first = table.iloc[0]
    assert first.next_step == 9
    assert first.F_between == 1.0
    assert first.peak_nats == 6.0
    assert first.anticipation_nats == 1.0
    assert first.recovery == 0.5
    assert table.iloc[1][["next_step", "F_between", "recovery"]].isna().all()


def cyclic() -> pd.DataFrame:
    """Two rounds over three pieces, a checkpoint after every update.

    Each costs 8 until it is trained on, then 4, and 1 more for every update since.
    """
    values = [(0, b, 8.0, "checkpoint") for b in range(3)]
    for c in range(1, 7):
        now = (c - 1) % 3
        values += [(c - 1, now, 0.0, "before_first"), (c, now, 0.0, "after_last")]
        for b in range(3):
            ago = (now - b) % 3
            values.append((c, b, 8.0 if c <= b else 4.0 + ago, "checkpoint"))
    return rows(values)


def test_the_shift_map_of_two_rounds() -> None:
    table = shift_map(cyclic()).set_index(["round", "shift"]).change_nats
    # first round: trained 0, 1, 2 updates ago: −4, −3, −2; not yet: as at θ₀
    assert table[0].to_dict() == {-2: 0, -1: 0, 0: -4, 1: -3, 2: -2}
    # second round: what comes next was trained on 2 updates ago, what comes after it 1 ago
    assert table[1].to_dict() == {-2: -3, -1: -2, 0: -4, 1: -3, 2: -2}


def test_what_training_does_to_the_pieces_beside() -> None:
    """Piece 0 trained at step 1 and again at step 2; 1 gains, 2 less, 3 loses."""
    losses = [[8.0, 8.0, 8.0, 8.0], [4.0, 7.0, 7.5, 8.5], [3.0, 6.5, 7.5, 9.0]]
    values = [(c, b, losses[c][b], "checkpoint") for c in range(3) for b in range(4)]
    for step in (1, 2):
        values += [(step - 1, 0, 0.0, "before_first"), (step, 0, 0.0, "after_last")]
    table = neighbours(rows(values)).set_index(["again", "distance"])
    # the first time −1, −½, +½ beside it, on average −⅓
    assert table.loc[False].change_nats.tolist() == [-1, -0.5, 0.5]
    assert table.loc[False].excess_nats.tolist() == pytest.approx([-2 / 3, -1 / 6, 5 / 6])
    # again: −½, 0, +½, on average 0
    assert table.loc[True].change_nats.tolist() == [-0.5, 0, 0.5]
    assert table.loc[True].excess_nats.tolist() == [-0.5, 0, 0.5]
    assert (table.n_pairs == 1).all()


def test_a_decrease_that_no_policy_measured_comes_from_the_losses_around_the_step() -> None:
    """Two repeats on piece 0, 8 → 6 → 3; step 3 on piece 1 and more; step 4 was measured."""
    recall = rows(
        [
            (0, 0, 8.0, "before_first"),
            (1, 0, 6.0, "after_repeat"),
            (2, 0, 3.0, "after_last"),
            (2, 1, 4.0, "before_first"),
            (3, 1, 2.0, "after_last"),
            (3, 2, 5.0, "before_first"),
            (4, 2, 4.0, "after_last"),
            (4, 0, 3.5, "checkpoint"),
        ]
    ).assign(n_tokens=10)
    log = {"step": [1, 2, 3, 4], "n_new_tokens": [10, 20, 35, 45]}
    table = pd.DataFrame(log).assign(run="a", decrease_achieved=[np.nan, np.nan, np.nan, 0.125])
    found = with_decreases(table, recall).decrease_achieved
    assert found.tolist() == pytest.approx([0.25, 0.5, np.nan, 0.125], nan_ok=True)
