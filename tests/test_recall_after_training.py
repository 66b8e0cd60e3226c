"""What training leaves behind, through recall and tables: two epochs in time order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from training_inputs import build_base, build_train, train_spec, write_held_out, write_inputs

from palimpsest.stages import recall

N_PIECES = 8


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkpoints = {"kind": "even", "count": 4}
    specs = [train_spec(epoch=epoch, checkpoints=checkpoints) for epoch in range(2)]
    return recalled(specs, tmp_path_factory.mktemp("study"))


def recalled(specs: list[dict[str, Any]], folder: Path) -> Path:
    out = folder / "recall"
    out.mkdir()
    inputs = write_inputs(folder / "inputs")
    for seed, role in enumerate(("new", "original"), start=5):
        write_held_out(inputs[role], seed)
    base = before = build_base(inputs, folder / "base")
    trains = []
    for epoch, spec in enumerate(specs):
        before = build_train(spec, inputs, folder / f"{epoch}", before=before, base=base)
        trains.append(before)
    spec = {"every": 1, "held_out_tokens": 64, "drift_tokens": 32, "checkpoints": "all"}
    spec["per_token"] = False
    roles: dict[str, Any] = {"base": base, "trains": trains}
    roles |= {role: inputs[role] for role in ("new", "original")}
    recall.build(spec | {"phases": specs}, roles, out)
    return out


def test_both_epochs_are_two_visits(built: Path) -> None:
    pieces = pd.read_parquet(built / "pieces.parquet")
    assert pieces.first_step.tolist() == list(range(1, N_PIECES + 1))
    assert pieces.last_step.tolist() == list(range(N_PIECES + 1, 2 * N_PIECES + 1))
    assert (pieces.n_visits == 2).all()
    table = pd.read_parquet(built / "recall.parquet")
    live = table[table.measured != "checkpoint"]
    assert live.groupby(["piece", "measured"]).size().tolist() == [2] * 2 * N_PIECES
    at_end = table.query("measured == 'checkpoint' and checkpoint_step == 16")
    assert (at_end.repeat == 2).all()


def test_losses_taken_while_training_are_those_of_the_checkpoint_there(built: Path) -> None:
    """Checkpoints lie after every second step, so each second piece has both measurements."""
    table = pd.read_parquet(built / "recall.parquet")
    checkpoints = table[table.measured == "checkpoint"]
    for moment in ("before_first", "after_last"):
        live = table[table.measured == moment]
        both = live.merge(checkpoints, on=["checkpoint_step", "piece"])
        assert len(both) >= N_PIECES
        assert both.loss_nats_x.to_numpy() == pytest.approx(both.loss_nats_y.to_numpy(), abs=1e-6)


def test_training_moved_away_from_the_base(built: Path) -> None:
    kl = pd.read_parquet(built / "kl.parquet")
    assert (kl[kl.checkpoint_step == 2 * N_PIECES].kl_nats > 0).all()


def test_losses_between_repeats_are_those_of_the_checkpoint_there(tmp_path: Path) -> None:
    stream = train_spec()["phase"]["stream"] | {"repeats": 3}
    checkpoints = {"kind": "even", "count": 3 * N_PIECES}
    out = recalled([train_spec(stream=stream, checkpoints=checkpoints)], tmp_path)
    table = pd.read_parquet(out / "recall.parquet")
    within = table[table.measured == "after_repeat"]
    assert len(within) == 2 * N_PIECES and (within.repeat == 1).all()
    both = within.merge(
        table[table.measured == "checkpoint"], on=["checkpoint_step", "piece", "n_tokens"]
    )
    assert len(both) == 2 * N_PIECES
    assert both.loss_nats_x.to_numpy() == pytest.approx(both.loss_nats_y.to_numpy(), abs=1e-6)
