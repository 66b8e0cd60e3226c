"""Speed by hand: operations, and their share of a known peak."""

import pytest
import torch
from training_inputs import OPTIMIZER

from palimpsest.core.course import Trainee
from palimpsest.core.models import new_neox
from palimpsest.core.speed import peak_operations, speed


def test_six_operations_per_weight_and_token() -> None:
    """h = 8: 12·64 + 13·8 weights in the block and 16 in the last norm are 888."""
    model = new_neox(hidden_size=8, layers=1, heads=2, vocab_size=20, context_length=8, seed=0)
    found = speed(Trainee(model, OPTIMIZER), n_tokens=1000, wall_seconds=2.0)
    assert found["flops"] == 6 * 888 * 1000
    assert (found["n_tokens"], found["wall_seconds"]) == (1000, 2.0)
    assert found["peak_memory_bytes"] > 1e7
    assert "mfu" not in found


@pytest.mark.parametrize(
    ("name", "peak"),
    [("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA A100-SXM4-40GB", 312e12), ("Tesla K80", None)],
)
def test_peaks_are_known_by_name(name: str, peak: float | None) -> None:
    assert peak_operations(torch.device("cuda"), name) == peak
