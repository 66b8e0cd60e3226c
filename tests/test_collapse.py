from __future__ import annotations

import numpy as np
import pytest

from palimpsest.core.collapse import judged, of_accuracy, of_perplexity, standard_error
from palimpsest.core.tables.evals import Answers, eval_rows


def right(n_right: int, n: int = 400) -> np.ndarray:
    return (np.arange(n) < n_right).astype(float)


def test_an_accuracy_by_hand() -> None:
    """Base 300 of 400 right, then 200, chance ¼: (0.75 − 0.5)/(0.75 − 0.25) = ½."""
    result = of_accuracy(right(300), right(200), chance=0.25, tolerance=0.1)
    assert result.collapse == pytest.approx(0.5)
    # base − now − ½·base is −½ on 200 items, ½ on 100, 0 on 100; over √400 and 0.5
    values = np.repeat([-0.5, 0.5, 0.0], [200, 100, 100])
    assert result.collapse_stderr == pytest.approx(values.std(ddof=1) / 20 / 0.5)
    assert result.low == pytest.approx(0.5 - 1.96 * result.collapse_stderr, abs=1e-4)
    assert result.verdict == "collapsed"


def test_unchanged_items_are_prevented_without_doubt() -> None:
    result = of_accuracy(right(300), right(300), chance=0.25, tolerance=0.1)
    assert (result.collapse, result.collapse_stderr, result.verdict) == (0, 0, "prevented")


def test_an_accuracy_at_chance_is_undefined() -> None:
    """110 of 400 is .275, .025 above chance, 1.1 standard errors: nothing to lose."""
    result = of_accuracy(right(110), right(50), chance=0.25, tolerance=0.1)
    assert result.verdict == "undefined" and np.isnan(result.collapse)


def test_a_perplexity_is_paired() -> None:
    """Each item loses 0.2 nats exactly: ln(ppl/ppl₀) = 0.2 without error, however they differ."""
    base = np.random.default_rng(0).normal(-4, 2, size=100)
    result = of_perplexity(base, base - 0.2, tolerance=0.05)
    assert result.collapse == pytest.approx(0.2)
    assert result.collapse_stderr == pytest.approx(0, abs=1e-12)
    assert result.verdict == "collapsed"


def test_the_paired_error_is_the_spread_over_repetitions() -> None:
    random = np.random.default_rng(2)
    collapses, errors = [], []
    for _ in range(300):
        ability = random.random(500)
        base, now = (ability < 0.7).astype(float), (ability + random.normal(0, 0.1, 500) < 0.6)
        result = of_accuracy(base, now.astype(float), chance=0.25, tolerance=0.1)
        collapses.append(result.collapse)
        errors.append(result.collapse_stderr)
    assert np.mean(errors) == pytest.approx(np.std(collapses), rel=0.12)


@pytest.mark.parametrize(
    ("collapse", "error", "verdict"),
    [
        (0.0, 0.05, "prevented"),
        (0.3, 0.05, "collapsed"),
        (0.1, 0.05, "not decidable"),
        (-0.5, 0.1, "prevented"),
        (0.3, float("nan"), "undefined"),
    ],
)
def test_verdicts(collapse: float, error: float, verdict: str) -> None:
    assert judged(collapse, error, 0.1).verdict == verdict


def test_the_error_of_one_value_is_unknown() -> None:
    assert np.isnan(standard_error(np.array([1.0])))


def test_an_accuracy_behind_a_filter_collapses_as_one_and_an_unknown_metric_does_not() -> None:
    names = ["exact_match,strict-match", "word_perplexity"]
    asked = {"value": 0.0, "stderr": 0.0, "chance": 0.0, "n_items": 400}
    rows = [{"task": "t", "metric": name} | asked for name in names]

    def answered(n_right: int) -> Answers:
        items = {("t", names[0]): right(n_right), ("t", names[1]): np.empty(0)}
        return Answers({("t", row["metric"]): row for row in rows}, items)

    found = {row["metric"]: row for row in eval_rows({}, answered(200), answered(100))}
    assert found[names[0]]["collapse"] == pytest.approx(0.5)
    assert found[names[0]]["verdict"] == "collapsed"
    assert found[names[1]]["verdict"] == "undefined"
