"""The benchmark for GPUs, at a tiny shape on whatever is here: everybody is timed alike."""

import sys
from itertools import pairwise
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent / "bench"


@pytest.fixture
def gpu(monkeypatch):
    """The benchmark's module."""
    monkeypatch.syspath_prepend(str(BENCH))
    import gpu

    yield gpu
    sys.modules.pop("gpu")


def test_all_are_timed_over_the_steps_after_the_warm_up(gpu, monkeypatch):
    """Every contestant stamps once a step, from its first one on; none counts its start-up."""
    clocks = []

    class Kept(gpu.Clock):
        def __init__(self):
            super().__init__()
            clocks.append(self)

    monkeypatch.setattr(gpu, "Clock", Kept)
    case = gpu.tiny_case()
    found = list(gpu.measured(case))
    assert [passes for _, _, passes in found] == [3, 3, 3, 1, 1]
    assert [len(clock.moments) for clock in clocks] == [gpu.STEPS] * 5
    for (_, tokens_per_second, _), clock in zip(found, clocks, strict=True):
        steps = [after - before for before, after in pairwise(clock.moments)]
        counted = steps[gpu.WARM_UP - 1 :]  # the first step has no moment before it
        assert len(counted) == 15
        assert tokens_per_second == pytest.approx(4 * 32 * 15 / sum(counted))


def test_both_counts_of_operations_by_hand(gpu):
    """h = 16: 12 * 256 + 13 * 16 + 32 weights; 12 * 256 + 50 * 16 in products; 12 * 16 * 32."""
    case = gpu.tiny_case()
    products = 6 * (12 * 256 + 50 * 16) + 12 * 16 * 32
    assert gpu.operations(case, 3) == (6 * 3312, products)
    assert gpu.operations(case, 1) == (2 * 3312, products / 3)
