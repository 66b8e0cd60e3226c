"""Fronts, knees, areas and ratios against brute force and against small cases by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from palimpsest.core import pareto


@pytest.fixture(autouse=True)
def no_numpy_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def beaten(point: int, learning: np.ndarray, loss: np.ndarray) -> bool:
    return any(
        learning[k] >= learning[point]
        and loss[k] <= loss[point]
        and (learning[k] > learning[point] or loss[k] < loss[point])
        for k in range(len(learning))
    )


def test_members_by_brute_force_with_ties_and_gaps() -> None:
    random = np.random.default_rng(0)
    for _ in range(500):
        n_points = int(random.integers(1, 25))
        learning = random.integers(0, 6, n_points) / 3 if random.random() < 0.5 else None
        learning = random.standard_normal(n_points) if learning is None else learning
        loss = random.integers(0, 6, n_points) / 3
        learning[random.random(n_points) < 0.1] = np.nan
        loss[random.random(n_points) < 0.1] = np.nan
        known = np.isfinite(learning) & np.isfinite(loss)
        expected = [known[k] and not beaten(k, learning, loss) for k in range(n_points)]
        assert pareto.members(learning, loss).tolist() == expected


def test_knee_is_farthest_beyond_the_chord() -> None:
    learning = np.array([0.0, 0.8, 1.0, 0.5])
    loss = np.array([0.0, 0.1, 1.0, 0.9])
    assert pareto.knee(learning, loss) == 1
    assert pareto.knee(learning[:2], loss[:2]) is None


def test_members_knees_and_areas_by_brute_force_with_ties_and_gaps() -> None:
    random = np.random.default_rng(1)
    for _ in range(500):
        n_points = int(random.integers(1, 25))
        learning, loss = random.integers(0, 9, (2, n_points)) / 4
        learning[random.random(n_points) < 0.1] = np.nan
        loss[random.random(n_points) < 0.1] = np.nan
        found, beyond = pareto.knee(learning, loss), distances(learning, loss)
        assert (found is None) == (max(beyond.values(), default=0.0) <= 1e-12)
        if found is not None:
            assert beyond[found] == pytest.approx(max(beyond.values()))
        area = pareto.hypervolume(learning, loss, reference=(0.0, 2.0))
        assert area == pytest.approx(counted_area(learning, loss))


def distances(learning: np.ndarray, loss: np.ndarray) -> dict[int, float]:
    """Return how far each member lies beyond the chord between the front's ends, perpendicular."""
    front = [
        k
        for k in range(len(learning))
        if np.isfinite(learning[k] + loss[k]) and not beaten(k, learning, loss)
    ]
    front.sort(key=lambda k: learning[k])
    if len(front) < 3:
        return {}
    (x0, y0), (x1, y1) = ((learning[k], loss[k]) for k in (front[0], front[-1]))
    length = np.hypot(x1 - x0, y1 - y0) or 1.0
    return {
        k: ((learning[k] - x0) * (y1 - y0) - (loss[k] - y0) * (x1 - x0)) / length for k in front
    }


def counted_area(learning: np.ndarray, loss: np.ndarray) -> float:
    """Return the area better than (0, 2) that some point beats, in squares of a quarter."""
    middles = (np.arange(8) + 0.5) / 4
    covered = [
        any(learning[k] >= x and loss[k] <= y for k in range(len(learning)))
        for x in np.append(middles, middles[-1] + 0.25)
        for y in middles
    ]
    return sum(covered) / 16


def test_the_knee_does_not_hang_on_the_scales() -> None:
    random = np.random.default_rng(2)
    for _ in range(100):
        learning, loss = random.random((2, 12))
        assert pareto.knee(learning, loss) == pareto.knee(1000 * learning, loss / 7)


def test_knee_probability_counts_draws() -> None:
    learning = np.array([[0.0, 0.8, 1.0], [0.0, 0.8, 1.0], [0.0, 0.8, 1.0]])
    loss = np.array([[0.0, 0.1, 1.0], [0.0, 0.1, 1.0], [0.0, 0.9, 1.0]])
    assert pareto.knee_probability(learning, loss).tolist() == pytest.approx([0, 2 / 3, 0])


def test_a_hollow_front_has_no_knee() -> None:
    assert pareto.knee(np.array([0.0, 0.5, 1.0]), np.array([0.0, 0.9, 1.0])) is None


def test_hypervolume_of_two_steps() -> None:
    learning, loss = np.array([1.0, 2.0, 0.5, np.nan]), np.array([1.0, 3.0, 3.5, 0.0])
    # 1 x (4 - 1) under the first point, 1 x (4 - 3) beyond it
    assert pareto.hypervolume(learning, loss, reference=(0.0, 4.0)) == pytest.approx(4.0)
    assert pareto.hypervolume(learning, loss, reference=(0.0, 1.0)) == 0.0


def test_membership_probability_counts_draws() -> None:
    learning = np.array([[1.0, 2.0], [1.0, 2.0]])
    loss = np.array([[1.0, 2.0], [1.0, 0.5]])
    assert pareto.membership_probability(learning, loss).tolist() == [0.5, 1.0]


def test_equal_learning_interpolates_along_runs() -> None:
    slow = np.array([0.0, 1.0]), np.array([0.0, 2.0])
    fast = np.array([0.0, 0.5, 2.0]), np.array([0.0, 0.0, 3.0])
    values, losses = pareto.at_equal_learning([slow, fast], n_values=2)
    assert values.tolist() == [0.5, 1.0]
    assert losses.tolist() == [[1.0, 2.0], [0.0, 1.0]]


def test_no_common_learning_gives_nothing() -> None:
    never = np.array([0.0, -0.1]), np.array([0.0, 0.3])
    values, losses = pareto.at_equal_learning([never, (np.array([0.0, 1.0]), np.zeros(2))])
    assert len(values) == 0
    assert losses.shape == (2, 0)


def test_critical_ratio_is_where_loss_stays_below() -> None:
    ratios = np.array([0.0, 0.25, 0.5, 0.75])
    curves = np.array(
        [
            [0.4, 0.2, 0.0, -0.1],  # crosses 0.1 half way between .25 and .5
            [0.0, 0.3, 0.05, 0.0],  # rises above once more: the last crossing counts
            [0.0, 0.0, 0.0, 0.0],
            [0.4, 0.3, 0.2, 0.2],
        ]
    )
    found = pareto.critical_ratio(ratios, curves, tolerance=0.1)
    assert found[:3] == pytest.approx([0.375, 0.45, 0.0])
    assert found[3] == np.inf


@pytest.mark.parametrize(
    ("draws", "best", "answer"),
    [
        ([0.0, 0.0, 0.0], 0.0, "none needed"),
        ([np.inf] * 3, np.inf, "none"),
        ([0.3, 0.4, 0.5], 0.4, "ratio"),
        ([0.3, 0.4, np.inf], 0.4, "not decidable"),
    ],
)
def test_critical_answers(draws: list[float], best: float, answer: str) -> None:
    found = pareto.critical_answer(np.array(draws), best=best, confidence=0.95)
    assert found["answer"] == answer
