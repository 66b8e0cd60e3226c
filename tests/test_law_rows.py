"""What the page says of every fit: its parameters, and how far they move with Huber's δ."""

import pytest

from palimpsest.core.answers.clocks import _joint_words
from palimpsest.core.answers.fitted import law_rows


def record(**changes):
    found = {"value": 0.31, "low": 0.28, "high": 0.35, "alone": True}
    amplitude = {"value": 4.0, "low": None, "high": None, "alone": False}
    moved = {
        "delta x 0.1": {"alpha": 0.309, "A": 3.0},
        "delta x 10": {"alpha": 0.325, "A": 5.0},
    }
    whole = {"formula": "A x^-alpha", "status": "fitted", "reason": "12 points", "law": "power"}
    whole |= {"parameters": {"A": amplitude, "alpha": found}, "delta_moves": moved}
    return whole | changes


def rows(**records):
    return law_rows({"fits": records})


def test_a_parameter_stands_with_its_interval_and_its_moves_with_delta():
    (row,) = rows(base=record())
    parameters, moves = "alpha 0.310 (0.280 to 0.350)", "alpha −0.001, +0.015"
    assert row == ("base", "A x^-alpha", "fitted", parameters, moves, "12 points")


def test_a_refused_fit_moves_nowhere():
    (row,) = rows(base=record(parameters={}, delta_moves={}, status="refused", reason="flat"))
    assert row[2:] == ("refused", "–", "–", "flat")


def test_a_fit_of_amplitudes_alone_has_nothing_to_show():
    only = {"A": {"value": 4.0, "low": None, "high": None, "alone": False}}
    moved = {"delta x 0.1": {"A": 3.0}, "delta x 10": {"A": 5.0}}
    (row,) = rows(base=record(parameters=only, delta_moves=moved))
    assert row[3:5] == ("–", "–")


@pytest.mark.parametrize(
    ("status", "words"),
    [("refused", "not fitted: flat"), ("fitted", "fitted whole, no error on unseen data")],
)
def test_a_law_without_errors_on_unseen_data_says_whether_it_was_fitted(status, words):
    row = {"clock": "step", "variant": "whole", "status": status, "error_nats": None}
    row |= {"reason": "flat", "log_linear_error_nats": None}
    assert _joint_words({"joint_ablations": [row]}, "lag_steps") == words


def test_a_refused_law_stands_beside_the_ablation_that_was_fitted():
    whole = {"clock": "step", "variant": "whole", "status": "refused", "error_nats": None}
    whole |= {"reason": "flat", "log_linear_error_nats": None}
    part = whole | {"variant": "without gain", "status": "fitted"}
    told = _joint_words({"joint_ablations": [whole, part, part]}, "lag_steps")
    assert told == "not fitted: flat; fitted without gain, no error on unseen data"
