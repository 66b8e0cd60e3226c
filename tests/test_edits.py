"""Edits by hand on five weights."""

import pytest
import torch

from palimpsest.core.edits import interpolate, prune_drift

BASE = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0])
NOW = torch.tensor([1.5, 0.75, 1.0, 3.0, 0.0])  # moved by 0.5, 0.25, 0, 2, 1


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [(0.0, BASE.tolist()), (0.5, [1.25, 0.875, 1.0, 2.0, 0.5]), (1.0, NOW.tolist())],
)
def test_the_line_from_the_base(alpha, expected):
    settings = interpolate.Settings(kind="interpolate", alpha=alpha)
    assert interpolate.edit(NOW, BASE, settings).tolist() == expected


@pytest.mark.parametrize("end", [0, 1])
def test_both_ends_are_exact_to_the_bit(end):
    generator = torch.Generator().manual_seed(3)
    base, now = torch.randn(2, 10_000, generator=generator)
    settings = interpolate.Settings(kind="interpolate", alpha=end)
    assert torch.equal(interpolate.edit(now, base, settings), (base, now)[end])


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [
        (0.0, [1.5, 0.75, 1.0, 3.0, 0.0]),
        (0.4, [1.5, 1.0, 1.0, 3.0, 0.0]),
        (0.6, [1.0, 1.0, 1.0, 3.0, 0.0]),
        (0.8, [1.0, 1.0, 1.0, 3.0, 1.0]),
        (1.0, BASE.tolist()),
    ],
)
def test_the_smallest_changes_go_back(fraction, expected):
    settings = prune_drift.Settings(kind="prune_drift", fraction=fraction)
    assert prune_drift.edit(NOW, BASE, settings).tolist() == expected
    assert NOW.tolist() == [1.5, 0.75, 1.0, 3.0, 0.0]


def test_labels():
    assert interpolate.label(interpolate.Settings(kind="interpolate", alpha=0.25)) == (
        "interpolate 0.25"
    )
    assert prune_drift.label(prune_drift.Settings(kind="prune_drift", fraction=0.5)) == (
        "prune_drift 0.5"
    )
