"""Do 95 % intervals hold the truth in 90 to 98 of 100 studies, as was written down?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from law_studies import CASES, N_SETS, Case, asked_names, coverage

RESULT = Path(__file__).parents[1] / "docs" / "results" / "coverage.csv"


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=[case.law for case in CASES])
def test_intervals_hold_the_truth(case: Case) -> None:
    held = coverage(case, n_sets=N_SETS)
    assert np.all((held >= 0.90) & (held <= 0.98)), held


def test_the_committed_result_is_of_these_studies_and_within_bounds() -> None:
    written = pd.read_csv(RESULT)
    asked = {(case.law, name) for case in CASES for name in asked_names(case)}
    assert set(written[["law", "quantity"]].itertuples(index=False, name=None)) == asked
    assert (written.studies >= 200).all()
    assert written.held.between(0.90, 0.98).all()
