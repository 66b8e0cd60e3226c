"""Every rule against a trajectory worked out by hand."""

import json

import pytest
from pydantic import ValidationError

from palimpsest.core.stops import Settings, Stops

NAN = float("nan")


def ends(settings: dict, trajectory: list[dict], memory: dict | None = None) -> list:
    """Return what the rules say after each step of a hand-made trajectory."""
    stops = Stops(Settings(**settings), {} if memory is None else memory)
    quiet = {"loss_nats": 3.0, "decrease_asked": NAN, "reached": False, "share_correct": NAN}
    return [stops.after_step(**{**quiet, **step}) for step in trajectory]


def losses(*values: float) -> list[dict]:
    return [{"loss_nats": value} for value in values]


def test_diverged_counts_steps_above_three_times_the_start() -> None:
    trajectory = losses(2.0, 6.0, 6.1, 7.0, 5.9, 6.1, 6.2, 9.0)
    settings = {"diverged_factor": 3, "diverged_patience": 3}
    assert ends(settings, trajectory) == [None] * 7 + ["diverged"]


def test_the_start_is_the_first_loss_of_the_phase_not_of_the_epoch() -> None:
    memory: dict = {}
    settings = {"diverged_factor": 3, "diverged_patience": 2}
    assert ends(settings, losses(1.0, 3.5), memory) == [None, None]
    memory = json.loads(json.dumps(memory))
    assert ends(settings, losses(3.5), memory) == ["diverged"]


@pytest.mark.parametrize("bad", [NAN, float("inf")])
def test_a_loss_or_gradient_that_is_not_finite_ends_any_phase_before_its_update(bad: float) -> None:
    stops = Stops(Settings(diverged_patience=None), {})
    assert stops.before_step(loss_nats=3.0, grad_norm=1.0) is None
    assert stops.before_step(loss_nats=bad, grad_norm=1.0) == "diverged"
    assert stops.before_step(loss_nats=3.0, grad_norm=bad) == "diverged"


def test_no_descent_counts_missed_decreases_in_a_row_and_skips_steps_that_asked_none() -> None:
    missed = {"decrease_asked": 0.05, "reached": False}
    reached = {"decrease_asked": 0.05, "reached": True}
    not_asked = {"decrease_asked": NAN, "reached": False}
    trajectory = [missed, missed, reached, missed, not_asked, missed, missed]
    assert ends({"no_descent_patience": 3}, trajectory) == [None] * 6 + ["no-descent"]


def test_accuracy_needs_more_than_the_threshold_and_asks_every_few_steps() -> None:
    stops = Stops(Settings(accuracy=0.8, accuracy_every=2), {})
    said = []
    for share in (0.7, 0.8, 1.0, 0.9):
        asked = stops.asks_questions()
        said.append(
            stops.after_step(
                loss_nats=3.0,
                decrease_asked=NAN,
                reached=False,
                share_correct=share if asked else NAN,
            )
        )
    assert said == [None, None, None, "accuracy"]


def test_steps_count_over_the_epochs_of_a_phase() -> None:
    memory: dict = {}
    assert ends({"steps": 5}, losses(3, 3, 3), memory) == [None, None, None]
    assert ends({"steps": 5}, losses(3, 3), memory) == [None, "steps"]


def test_with_every_rule_off_nothing_ends_a_phase() -> None:
    assert ends({"diverged_patience": None}, losses(1, 50, 50, 50)) == [None] * 4


def test_a_misspelt_rule_is_refused() -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"acuracy": 0.8})
