"""`follow` on two sizes, pretrained as in the default study, beside a dense grid of rates."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """The benchmark's own functions, and a folder for the bases that they need."""
    sys.path.insert(0, str(ROOT / "bench"))
    import follow
    from tools.chunks import setting_of

    folder = tmp_path_factory.mktemp("bench")
    yield lambda model, decrease: follow.keeps(setting_of(model, below=folder), decrease)
    sys.path.remove(str(ROOT / "bench"))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["neox-25k", "neox-100k"])
@pytest.mark.parametrize("decrease", [0.02, 0.05])
def test_reachable_decreases_are_met_within_a_tenth(bench, model, decrease, monkeypatch):
    """Of 30 sampled steps, those on which the grid reaches the decrease; two passes a step."""
    monkeypatch.chdir(ROOT)
    kept = bench(model, decrease)
    assert kept.n_reachable >= 10
    assert kept.n_within >= 0.95 * kept.n_reachable
    assert kept.forward_passes_per_step <= 2
