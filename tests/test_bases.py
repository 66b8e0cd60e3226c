import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from training_inputs import BASE, CONTEXT, VOCAB, build_base, files, write_inputs

from palimpsest.core.models import load_causal_lm
from palimpsest.faults import Fault
from palimpsest.stages.bases import _random_batches


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def base(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_base(inputs, tmp_path_factory.mktemp("base"))


def test_rows_come_once_each_before_any_comes_again() -> None:
    """101 tokens are 6 rows of 16 targets and a rest; 9 batches of two rows are three rounds."""
    batches = _random_batches(BASE, np.arange(101))
    drawn = [row for step in range(9) for row in batches(step).new]
    starts = [row.position for row in drawn]
    for round_ in (starts[:6], starts[6:12], starts[12:]):
        assert sorted(round_) == [0, 16, 32, 48, 64, 80]
    assert starts[:6] != starts[6:12]
    assert all((row.tokens == np.arange(17) + row.position).all() for row in drawn)
    again = _random_batches(BASE, np.arange(101))
    assert [row.position for row in again(7).new] == starts[14:16]
    other = _random_batches(BASE | {"seed": 1}, np.arange(101))
    assert [row.position for step in range(3) for row in other(step).new] != starts[:6]


def test_a_corpus_below_one_row_is_refused() -> None:
    with pytest.raises(Fault, match="less than one row"):
        _random_batches(BASE, np.arange(16))


def test_the_base_says_what_it_keeps(base: Path) -> None:
    """Embedding and head are 50 x 8 each; two blocks of 12·8² + 13·8 and a final norm of 16."""
    said = json.loads((base / "base.json").read_text())
    assert said["n_params"] == 2 * (12 * 64 + 13 * 8) + 16
    assert said["n_params_total"] == said["n_params"] + 2 * VOCAB * 8
    assert said["final"] == "step-00000020"
    kept = [(one["step"], one["n_tokens"]) for one in said["checkpoints"]]
    assert kept == [(5, 160), (10, 320), (20, 640)]
    names = {path.split("/")[0] for path in files(base)}
    assert names == {"base.json", "log.parquet", *(one["folder"] for one in said["checkpoints"])}


def test_checkpoints_load_with_their_tokenizer_and_differ(base: Path) -> None:
    weights = [load_causal_lm(base / f"step-{step:08d}").state_dict() for step in (5, 20)]
    assert (weights[0]["lm_head.weight"] != weights[1]["lm_head.weight"]).any()
    assert (base / "step-00000005" / "tokenizer.json").is_file()


def test_the_rate_climbs_for_two_steps_and_ends_at_a_tenth(base: Path) -> None:
    log = pd.read_parquet(base / "log.parquet")
    assert log.columns.tolist() == ["step", "n_tokens", "learning_rate", "loss_nats", "grad_norm"]
    assert log.learning_rate.iloc[:3].tolist() == pytest.approx([1e-2 / 3, 2e-2 / 3, 1e-2])
    assert log.learning_rate.iloc[-1] == pytest.approx(1e-3)
    assert log.n_tokens.tolist() == [2 * CONTEXT * step for step in range(1, 21)]
    assert log.loss_nats.iloc[-1] < log.loss_nats.iloc[0]


def test_the_same_spec_gives_the_same_bytes(
    inputs: dict[str, Path], base: Path, tmp_path: Path
) -> None:
    assert files(build_base(inputs, tmp_path / "again")) == files(base)
    assert files(build_base(inputs, tmp_path / "other", seed=1)) != files(base)
