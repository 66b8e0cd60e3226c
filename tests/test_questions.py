"""Every question of the study on planted tables: a known yes, a known no, and one in the noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from planted import (
    LOOSE,
    TIGHT,
    bases,
    drifting,
    edges,
    epochs,
    followed,
    knees,
    mixing,
    one_clock,
    ordered,
    protected,
    protected_apart,
    rates_over_size,
    rates_that_learn,
    remembered,
    replay,
    replay_ordered,
)
from report_frames import frames, run
from scipy.stats import beta

from palimpsest import experiments, params
from palimpsest.core.answers import clocks, drift, memory, policies, protections, rates, schedule
from palimpsest.core.answers import replay as replay_answers
from palimpsest.core.answers.answer import Answer
from palimpsest.core.answers.every import answers
from palimpsest.core.answers.forecast import HELD_OUT, compared, predicted_size
from palimpsest.core.answers.frames import Frames
from palimpsest.faults import Fault

YES, NO, OPEN = "yes", "no", "not decidable"
Case = tuple[Callable[[Frames], Answer], Frames, str]
FALLING = ((0.0, 0.5), (0.5, 0.02), (0.75, 0.01))
RISING = ((0.0, 0.5), (0.5, 0.3), (0.75, 0.2))
SAME_KNEE = {"small": 0.5, "large": 0.5}
OTHER_KNEE = {"small": 0.25, "large": 0.5}


def cases() -> dict[str, Case]:
    """Return every case by its name: the question, what is planted, what must be answered."""
    one, two, three = rates.by_size, replay_answers.prevents, replay_answers.cost
    four, five, six = policies.same, rates.beyond_edge, rates.never_learn
    seven, eight, nine, ten = drift.predicts, memory.order, schedule.come_back, policies.knee
    eleven, twelve = schedule.difficulty, protections.protections
    thirteen, fourteen = schedule.longer_base, clocks.one_curve
    return {
        "1: rates fall with size": (one, rates_over_size(0.25, 0.02), YES),
        "1: rates do not fall": (one, rates_over_size(0.0, 0.02), NO),
        "1: rates scatter": (one, rates_over_size(0.1, 1.0), OPEN),
        "2: half is enough": (two, replay(FALLING, TIGHT), YES),
        "2: nothing is enough": (two, replay(RISING, TIGHT), NO),
        "2: seeds scatter": (two, replay(FALLING, LOOSE), OPEN),
        "3: a fifth is lost": (three, mixing(0.2, TIGHT), YES),
        "3: nothing is lost": (three, mixing(0.0, TIGHT), NO),
        "3: a fifth, in the noise": (three, mixing(0.2, LOOSE), OPEN),
        "4: the same": (four, followed(0.01, TIGHT), YES),
        "4: a kept rate forgets less": (four, followed(0.2, TIGHT), NO),
        "4: seeds scatter": (four, followed(0.01, LOOSE), OPEN),
        "4: only ends were kept": (four, followed(0.2, TIGHT, steps=(0, 8)), OPEN),
        "5: a third lies beyond": (five, edges(0.3, 0.01), YES),
        "5: one in a hundred lies beyond": (five, edges(0.01, 0.005), NO),
        "5: one in a hundred, of ten steps": (five, edges(0.01, 0.005, n_steps=10), OPEN),
        "5: none of three runs": (five, edges(0.0, 0.0), OPEN),
        "5: all of three runs": (five, edges(1.0, 0.0), YES),
        "5: seeds scatter": (five, edges(0.3, LOOSE), OPEN),
        "6: the lowest rate is idle": (six, rates_that_learn(0.0, TIGHT), YES),
        "6: all rates learn": (six, rates_that_learn(0.4, TIGHT), NO),
        "6: one may be idle": (six, rates_that_learn(0.0, LOOSE), OPEN),
        "7: drift orders forgetting": (seven, drifting(float, 12), YES),
        "7: drift says nothing": (seven, drifting(lambda k: abs(k - 5.5), 12), NO),
        "7: four settings a size": (seven, drifting(float, 4), OPEN),
        "8: early pieces are lost": (eight, remembered(-0.6, 0.02), YES),
        "8: no order": (eight, remembered(0.0, 0.02), NO),
        "8: seeds scatter": (eight, remembered(-0.3, LOOSE), OPEN),
        "8: two seeds": (eight, remembered(-0.6, 0.02, seeds=2), OPEN),
        "9: it comes back": (nine, epochs(0.6, 0.1, 0.02), YES),
        "9: it stays away": (nine, epochs(0.6, 0.6, 0.01), NO),
        "9: few items": (nine, epochs(0.6, 0.5, 0.2), OPEN),
        "9: nothing had collapsed": (nine, epochs(0.01, 0.01, 0.02), OPEN),
        "10: one knee": (ten, knees(SAME_KNEE, TIGHT), YES),
        "10: two knees": (ten, knees(OTHER_KNEE, TIGHT), NO),
        "10: seeds scatter": (ten, knees(SAME_KNEE, LOOSE), OPEN),
        "11: easy first helps": (eleven, ordered(0.1, TIGHT), YES),
        "11: easy first does not": (eleven, ordered(0.0, TIGHT), NO),
        "11: seeds scatter": (eleven, ordered(0.1, LOOSE), OPEN),
        "11: it helps what is replayed": (eleven, ordered(0.1, TIGHT, ratio=1.0), YES),
        "11: another order of replay helps": (eleven, replay_ordered(0.1), YES),
        "12: consolidation wins": (twelve, protected(0.1, TIGHT), YES),
        "12: consolidation is no better": (twelve, protected(0.0, TIGHT), NO),
        "12: seeds scatter": (twelve, protected(0.1, LOOSE), OPEN),
        "12: it learns less than any mixture": (twelve, protected(0.1, TIGHT, learned=0.7), OPEN),
        "12: it wins at one size, the other is beyond": (twelve, protected_apart(0.1), OPEN),
        "12: it loses at one size, the other is beyond": (twelve, protected_apart(-0.1), NO),
        "13: longer forgets more": (thirteen, bases(0.2, TIGHT), YES),
        "13: longer forgets as much": (thirteen, bases(0.0, TIGHT), NO),
        "13: seeds scatter": (thirteen, bases(0.2, LOOSE), OPEN),
        "14: one clock": (fourteen, one_clock(0.01, 0.0), YES),
        "14: each setting its own way": (fourteen, one_clock(0.01, 0.9), NO),
        "14: seeds scatter": (fourteen, one_clock(0.01, 0.0, per_seed=0.7), OPEN),
    }


CASES = cases()


def test_too_few_settings_have_no_rank_correlation() -> None:
    answer = drift.predicts(drifting(lambda k: k, 4))
    assert answer.verdict == OPEN
    assert answer.value.startswith("without replay: no size has five settings that differ; with")


@pytest.mark.parametrize("name", CASES)
def test_a_planted_answer_is_found(name: str) -> None:
    question, planted, expected = CASES[name]
    answer = question(planted)
    assert answer.verdict == expected, (answer.value, answer.interval, answer.rows)
    assert answer.sentence and answer.rule


def test_every_question_has_a_planted_yes_no_and_open_case() -> None:
    told = {(name.split(":")[0], expected) for name, (_, _, expected) in CASES.items()}
    assert told == {(str(n), verdict) for n in range(1, 15) for verdict in (YES, NO, OPEN)}


def test_single_seeds_decide_nothing_over_seeds() -> None:
    for name in ("3: a fifth is lost", "4: a kept rate forgets less", "13: longer forgets more"):
        question, planted, _ = CASES[name]
        alone = planted.runs[planted.runs.seed == 0]
        fits = planted.fits | {"equal_learning": _without_intervals(planted.fits)}
        assert question(replace(planted, runs=alone, fits=fits)).verdict == OPEN


def _without_intervals(fits: dict) -> list[dict]:
    return [row | {"stderr": None, "low": None, "high": None} for row in fits["equal_learning"]]


@pytest.mark.parametrize(
    ("error", "inside", "expected"),
    [
        (0.01, [True] * 4, YES),
        (0.5, [True] * 4, NO),  # the constant errs by 0.2
        (0.01, [True, False, False, False], NO),
        (0.01, [None] * 4, OPEN),
        (0.1, [True] * 4, OPEN),  # log-linear errs by 0.05
    ],
)
def test_the_held_out_size(error: float, inside: list[bool | None], expected: str) -> None:
    rows = []
    for quantity in ("forgetting", "rate"):
        for form, wrong in (("law", error), ("log-linear", 0.05), ("constant", 0.2)):
            for value in inside:
                row = {"quantity": quantity, "form": form, "error": wrong, "inside": value}
                row |= {"observed": 0.5, "predicted": 0.5 + wrong, "low": 0.4, "high": 0.6}
                row |= {"decrease": 0.05, "replay_fraction": 0.25}
                rows.append(row | {"reason": ""})
    answer = predicted_size(frames([run()], fits=frames([]).fits | {"forecast": rows}))
    assert answer.verdict == expected
    first = answer.rows[0]
    assert first[2:4] == (f"{error:.2g} nats", f"{error / 0.5:.0%}".replace("%", "\u202f%"))
    predicted = f"{0.5 + error:.3f} (0.400 to 0.600), seen 0.500"
    assert first[6].split("; ")[0] == f"25\u202f%: {predicted}"


def test_forms_are_compared_on_the_values_that_all_could_predict() -> None:
    rows = [("law", 0.1, True, 0.5), ("law", None, None, 9.0), ("constant", 0.2, None, 0.5)]
    rows += [("constant", 9.0, None, 9.0)]
    table = compared(pd.DataFrame(rows, columns=["form", "error", "inside", "observed"]))
    assert table.share.to_dict() == pytest.approx({"law": 0.2, "constant": 0.4})
    assert table.error.to_dict() == {"law": 0.1, "constant": 0.2}
    assert (table.n_inside["law"], table.n_intervals["law"], table.n_compared["law"]) == (1, 1, 1)


def test_a_study_without_runs_has_every_question_not_run_and_says_what_would_answer_it() -> None:
    found = [*answers(frames([])), predicted_size(frames([]))]
    assert [one.number for one in found] == [*range(1, 15), 0]
    assert {one.verdict for one in found} == {"not run"}
    assert all(one.lines for one in found)


QUESTIONS = [HELD_OUT, rates.BY_SIZE, replay_answers.PREVENTS, replay_answers.COST, policies.SAME]
QUESTIONS += [rates.BEYOND, rates.NEVER, drift.PREDICTS, memory.ORDER, schedule.RETURN]
QUESTIONS += [policies.KNEE, schedule.DIFFICULTY, protections.PROTECT, schedule.LONGER]
QUESTIONS += [clocks.ONE_CURVE]


def pasted(study: str, lines: list[str], file: Path) -> params.Params:
    """Paste the lines of several questions under experiments: of a study's own text."""
    text = Path(f"studies/{study}.yaml").read_text("utf-8")
    file.write_text(text.replace("experiments:\n", "experiments:\n" + "".join(lines), 1))
    return params.load(file)


def sizes_of(study: str) -> Frames:
    names = yaml.safe_load(Path(f"studies/{study}.yaml").read_text("utf-8"))["models"]["sizes"]
    return frames([run(model=name, n_params=k, run=name) for k, name in enumerate(names)])


@pytest.mark.parametrize("number", range(15))
def test_the_lines_that_would_answer_a_question_can_be_pasted(number: int, tmp_path: Path) -> None:
    question, study = QUESTIONS[number], sizes_of("default")
    assert question.number == number
    before = params.load(Path("studies/default.yaml"))
    after = pasted("default", [question.lines_for(study)], tmp_path / "params.yaml")
    own = after.experiments.keys() - before.experiments.keys()
    assert own and after.experiments.items() >= before.experiments.items()
    planned = [one for one in experiments.runs(after) if one.experiment in own]
    assert {one.model for one in planned} == set(study.sizes)


def test_the_lines_of_all_questions_stand_beside_each_other(tmp_path: Path) -> None:
    study = sizes_of("default")
    lines = [question.lines_for(study) for question in QUESTIONS]
    names = [name for one in lines for name in yaml.safe_load(one)]
    assert len(names) == len(set(names))
    pasted("default", lines, tmp_path / "params.yaml")


def test_lines_for_three_sizes_name_three_and_say_which_to_add(tmp_path: Path) -> None:
    study = sizes_of("smoke")
    answer = predicted_size(study)
    assert "`neox-100k: {hidden_size: 64, layers: 2, heads: 4}` under `models:" in answer.sentence
    with pytest.raises(Fault, match="no model 'neox-100k'"):
        list(experiments.runs(pasted("smoke", [answer.lines], tmp_path / "params.yaml")))
    shapes = [f"    {name}: {shape}\n" for name, shape in HELD_OUT.sizes_to_add(study).items()]
    file = tmp_path / "params.yaml"
    file.write_text(file.read_text().replace("  sizes:\n", "  sizes:\n" + "".join(shapes), 1))
    planned = list(experiments.runs(params.load(file)))
    own = {one.model for one in planned if one.experiment == "largest-size-replay"}
    assert own == {"neox-6k", "neox-25k", "neox-100k"}


@pytest.mark.parametrize("n_steps", [10, 400])
def test_runs_that_all_agree_are_the_draws_however_long(n_steps: int) -> None:
    """0 of 3 runs, or 3 of 3: Clopper and Pearson's end is 0.025^(1/3) = 29.2 % from the other."""
    never = rates.beyond_edge(edges(0.0, 0.0, n_steps=n_steps))
    assert {row[2] for row in never.rows} == {"0.0\u202f% to 70.8\u202f%"}
    always = rates.beyond_edge(edges(1.0, 0.0, n_steps=n_steps))
    assert {row[2] for row in always.rows} == {"29.2\u202f% to 100.0\u202f%"}


def test_few_seeds_and_few_steps_widen_a_share() -> None:
    """3 of 30 steps, in 2 settings of 3 seeds that agree: 4 degrees of freedom.

    Student's over Gauss's quantile is 2.776445/1.959964, so that 30 steps are worth 14.95.
    """
    answer = rates.beyond_edge(edges(0.1, 0.0, n_steps=10))
    low, high = beta.ppf(0.025, 1.495, 14.455), beta.ppf(0.975, 2.495, 13.455)
    expected = f"{100 * low:.1f}\u202f% to {100 * high:.1f}\u202f%"
    assert {row[2] for row in answer.rows} == {expected}


def test_steps_of_seeds_that_lie_apart_are_worth_fewer() -> None:
    """Seeds at 20, 32 and 38 % of 400 steps each: the spread of 9.2 points is that of 25 steps.

    Squares about the mean sum to 0.0168, times 400 steps, over 2 · 0.3 · 0.7: 16 times too far
    apart for independent steps. 1200/16 steps, times (1.959964/2.776445)²: 37.4.
    """
    answer = rates.beyond_edge(edges(0.3, 0.1, n_steps=400))
    low, high = beta.ppf(0.025, 11.21, 27.16), beta.ppf(0.975, 12.21, 26.16)
    expected = f"{100 * low:.1f}\u202f% to {100 * high:.1f}\u202f%"
    assert {row[2] for row in answer.rows} == {expected}


def test_one_seed_has_no_interval_of_steps() -> None:
    planted = edges(0.3, 0.01)
    answer = rates.beyond_edge(replace(planted, runs=planted.runs[planted.runs.seed == 0]))
    assert answer.verdict == OPEN
    assert {row[2] for row in answer.rows} == {"no interval"}


def test_other_ways_of_training_say_nothing_of_sizes_and_rates() -> None:
    planted = one_clock(0.01, 0.0)
    changes: list[dict] = [{"repeats": 4}, {"order": "shuffled"}, {"policy_label": "p, ewc 1"}]
    for change in changes:
        again = planted.runs.assign(run=planted.runs.run + "-again", **change)
        lag = planted.lag.assign(run=planted.lag.run + "-again", F=-planted.lag.F)
        both = replace(
            planted, runs=pd.concat([planted.runs, again]), lag=pd.concat([planted.lag, lag])
        )
        assert clocks.one_curve(both).verdict == YES


def test_half_lives_are_of_the_settings_that_the_curves_are_of() -> None:
    """Two settings compared, at 10 and 20 steps; each of the others differs in one thing."""
    planted = one_clock(0.01, 0.0)
    way = {"clock": "steps", "replay_fraction": 0.0, "stream": "chunks", "order": "time"}
    way |= {"repeats": 1, "epochs": 1, "n_phases": 1}
    way |= {"model": "small", "policy_label": "fixed 0.001"}
    others: list[dict] = [{"repeats": 4}, {"order": "shuffled"}, {"stream": "rolling"}]
    others += [{"epochs": 2}, {"n_phases": 2}, {"policy_label": "fixed 0.001, ewc 1"}]
    others += [{"replay_fraction": 0.5}, {"clock": "update_norm"}]
    half_lives = [way | {"value": 10.0}, way | {"model": "large", "value": 20.0}]
    half_lives += [way | {"policy_label": "fixed 0.002", "value": None}]
    half_lives += [way | other | {"value": 900.0} for other in others]
    fits = planted.fits | {"half_lives": half_lives}
    rows = {row[0]: row[4] for row in clocks.one_curve(replace(planted, fits=fits)).rows}
    assert (rows["steps"], rows["Σ learning rate"]) == ("10 to 20 (2 settings)", "–")
    assert rows["update norm"] == "900 to 900 (1 settings)"


def test_settings_of_one_seed_have_no_interval_of_their_curves() -> None:
    """Three seeds of the other settings say nothing of how this one's would scatter."""
    planted = one_clock(0.01, 0.9)
    last = planted.runs.policy_label == "fixed 0.004"
    fewer = planted.runs[~last | (planted.runs.seed == 0)]
    cells = clocks.explained(
        clocks.setting_curves(replace(planted, runs=fewer)), "lag_sum_learning_rate"
    ).set_index(["model", "policy_label"])
    assert cells.low["small"].isna().tolist() == [False, False, False, True]
    for fitting in (one_clock(0.01, 0.0), replace(one_clock(0.01, 0.0), runs=fewer)):
        expected = YES if len(fitting.runs) == len(planted.runs) else OPEN
        assert clocks.one_curve(fitting).verdict == expected


def test_only_runs_in_time_order_have_a_place_in_the_story() -> None:
    planted = remembered(-0.6, 0.02)
    by_difficulty = planted.runs.assign(order=planted.runs.order.replace("time", "easy-first"))
    assert memory.order(replace(planted, runs=by_difficulty)).verdict == "not run"


def test_a_kept_rate_that_learns_next_to_nothing_says_nothing_of_a_followed_decrease() -> None:
    answer = policies.same(followed(0.3, TIGHT, idle=True))
    assert answer.verdict == "no"
    assert {row[2] for row in answer.rows} == {"follow 1 % − hold 1 %"}


def test_the_control_stands_by_place_in_its_training_and_in_the_story() -> None:
    """Seed 0 has the largest order memory: ρ −0.6 in time order, of the control 0.02 and 0.04."""
    answer = memory.order(remembered(-0.6, 0.02))
    assert [row[3] for row in answer.rows] == [
        "−0.60; 0.02; 0.04",
        "−0.60; 0.00; 0.04",
        ("−0.60; −0.02; 0.04"),
    ]
    assert answer.sentence.endswith(
        "ρ is −0.60 in time order; in shuffled order 0.02 by place in its own training and 0.04 by "
        "place in the story."
    )
    assert "order memory takes the former" in answer.rule
