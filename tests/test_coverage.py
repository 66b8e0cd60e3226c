"""Do 95 % intervals hold the truth in 90 to 98 of 100 studies, as was written down?

Or, where the studies themselves were drawn far out, about as often as the exact interval does.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from law_studies import CASES, Case, asked_names, coverage, draw_study, ideal

MOST_REFUSED = 0.05  # of studies: coverage over fewer would say little of the others
LEAST, MOST = 0.90, 0.98
BEHIND = 0.02  # what few resamples may cost beside the exact interval on the same studies
RESULT = Path(__file__).parents[1] / "docs" / "results" / "coverage.csv"


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=[case.law for case in CASES])
def test_intervals_hold_the_truth(case: Case) -> None:
    held, refused = coverage(case)
    assert within(held, ideal(case)), held
    assert refused <= MOST_REFUSED


def within(held: np.ndarray, exact: np.ndarray) -> bool:
    """Say whether each share is one that an interval of 95 % has on these studies."""
    least = np.full(len(held), LEAST)
    least[: len(exact)] = np.fmin(LEAST, exact - BEHIND)
    return bool(np.all((held >= least) & (held <= MOST)))


@pytest.mark.slow
def test_the_exact_interval_holds_the_truth_of_joint_but_in_few_of_the_first_studies() -> None:
    """The first quantity's low share is of these draws: 95 of 100 hold it over more studies."""
    joint = next(case for case in CASES if case.law == "joint")
    assert ideal(joint)[0] < LEAST
    assert ideal(joint, seeds=range(3000, 4000)) == pytest.approx(0.95, abs=0.02)


def test_the_committed_result_is_of_these_studies_and_within_bounds() -> None:
    written = pd.read_csv(RESULT)
    asked = {(case.law, name) for case in CASES for name in asked_names(case)}
    assert set(written[["law", "quantity"]].itertuples(index=False, name=None)) == asked
    assert (written.studies >= 200).all()
    assert written.held.between(LEAST, MOST).all()
    assert written.refused.between(0, MOST_REFUSED).all()


def test_the_drawn_studies_have_the_full_studys_design() -> None:
    """Four sizes and three seeds; fixed and strong rates at few ratios, held ones at five."""
    ways = {case.law: case.design() for case in CASES}
    assert ways["replay-share"].p.tolist() == [0.0, 0.1, 0.25, 0.5, 0.75]
    assert sorted(set(ways["decrease-lr"].f)) == [0.01, 0.02, 0.05, 0.1]
    points, joint = draw_study(CASES[-1], np.random.default_rng(0)), ways["joint"]
    assert len(set(joint.cell)) == 4 * (2 * 5 + 2 + 6) and set(joint.p) == {0, 0.1, 0.25, 0.5, 0.75}
    fixed = joint[joint.cell == joint.cell.max()]
    assert fixed.S.tolist() == pytest.approx([0.02 * step for step in (2, 5, 12, 28, 64)])
    assert len(points) == 3 * 5 * 72 and points.n_runs == 3 * 72


def test_what_is_asked_lies_inside_the_design() -> None:
    for case in CASES:
        design = case.design()
        for name, values in case.asked.items():
            assert design[name].min() <= min(values) and max(values) <= design[name].max()
    joint = next(case for case in CASES if case.law == "joint")
    design = joint.design()
    reached = design[design.p > 0].groupby("N").S.max().min()  # held rates are lower than fixed
    asked = pd.DataFrame(joint.asked)
    assert asked[asked.p > 0].S.max() < reached
