from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_artifacts import N_PIECES, STEPS, STREAM, recall_inputs, recall_spec
from transformers import AutoModelForCausalLM

from palimpsest.core.streams import make_stream
from palimpsest.stages import recall


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return recall_inputs(tmp_path_factory.mktemp("artifacts"))


@pytest.fixture(scope="module")
def built(inputs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recall")
    recall.build(recall_spec(), inputs, out)
    return out


def folders(inputs: dict[str, Any]) -> dict[int, Path]:
    trained = {step: inputs["trains"][0] / f"step-{step:08d}" for step in STEPS}
    return {0: inputs["base"] / "step-00000010"} | trained


def hugging_face_loss(folder: Path, rows: list[np.ndarray]) -> float:
    """The mean over the rows' targets of the loss that from_pretrained's model returns itself."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    total, n_tokens = 0.0, 0
    for row in rows:
        ids = torch.tensor(row)[None]
        with torch.no_grad():
            total += float(model(input_ids=ids, labels=ids).loss) * (len(row) - 1)
        n_tokens += len(row) - 1
    return total / n_tokens


def test_every_entry_is_the_loss_that_from_pretrained_returns(
    built: Path, inputs: dict[str, Any]
) -> None:
    table = pd.read_parquet(built / "recall.parquet").query("measured == 'checkpoint'")
    new = np.load(inputs["new"] / "train.npy")
    stream = make_stream(STREAM, new=new, original=None, replay_fraction=0.0, seed=0)
    for step, folder in folders(inputs).items():
        for piece in stream.pieces:
            ours = table[(table.checkpoint_step == step) & (table.piece == piece.piece)]
            theirs = hugging_face_loss(folder, [row.tokens for row in piece.rows])
            assert ours.loss_nats.item() == pytest.approx(theirs, abs=1e-5)
            assert ours.n_tokens.item() == 24


def test_held_out_losses_are_per_domain_and_cover_the_sample(
    built: Path, inputs: dict[str, Any]
) -> None:
    table = pd.read_parquet(built / "held_out.parquet")
    assert set(table.domain) == {"dnd", "books", "code"}
    tokens = np.load(inputs["original"] / "held_out.npy").astype(int)
    # 120 tokens, 4 windows of 17 at 0, 34, 68, 103; documents change at 40 and 80.
    rows = {"books": [(0, 17), (34, 40), (80, 85), (103, 120)], "code": [(40, 51), (68, 80)]}
    for domain, spans in rows.items():
        entry = table[(table.checkpoint_step == 4) & (table.domain == domain)]
        expected = hugging_face_loss(folders(inputs)[4], [tokens[a:b] for a, b in spans])
        assert entry.loss_nats.item() == pytest.approx(expected, abs=1e-5)
        assert entry.bits_per_byte.item() == pytest.approx(expected / np.log(2) / 2, abs=1e-5)


def test_drift_starts_at_zero_and_counts_every_parameter(
    built: Path, inputs: dict[str, Any]
) -> None:
    table = pd.read_parquet(built / "drift.parquet")
    start = table.query("checkpoint_step == 0")
    assert (start.mad == 0).all() and (start.share_unchanged == 1).all()
    model = AutoModelForCausalLM.from_pretrained(folders(inputs)[0])
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    assert (table.groupby("checkpoint_step").n_weights.sum() == n_parameters).all()
    head = table.query("checkpoint_step == 2 and group == 'head'")
    matrices = [
        AutoModelForCausalLM.from_pretrained(folders(inputs)[step]).lm_head.weight.detach()
        for step in (0, 2)
    ]
    assert head.mad.item() == pytest.approx(float((matrices[1] - matrices[0]).abs().mean()))


def test_kl_is_zero_at_the_base_and_positive_after(built: Path) -> None:
    table = pd.read_parquet(built / "kl.parquet")
    assert (table.query("checkpoint_step == 0").kl_nats.abs() < 1e-6).all()
    assert (table.query("checkpoint_step > 0").kl_nats > 0).all()
    assert set(table.corpus) == {"new", "original"}


def test_live_losses_join_at_the_weights_they_were_measured_on(built: Path) -> None:
    table = pd.read_parquet(built / "recall.parquet")
    before = table.query("measured == 'before_first'")
    assert before.checkpoint_step.tolist() == [0, 1, 2, 3]
    assert before.loss_nats.tolist() == [6, 7, 8, 9]
    after = table.query("measured == 'after_last'")
    assert after.checkpoint_step.tolist() == [1, 2, 3, 4]
    assert after.repeat.tolist() == [1, 1, 1, 1]
    at_two = table.query("measured == 'checkpoint' and checkpoint_step == 2")
    assert at_two.repeat.tolist() == [1, 1, 0, 0]


def test_bits_per_byte_are_those_of_the_training_text(built: Path) -> None:
    table = pd.read_parquet(built / "recall.parquet")
    bits = table.loss_nats / np.log(2) / 4  # 400 tokens are 1600 bytes
    assert table.bits_per_byte.to_numpy() == pytest.approx(bits.to_numpy(), rel=1e-6)


def test_losses_per_token_add_up_to_their_piece(
    built: Path, inputs: dict[str, Any], tmp_path: Path
) -> None:
    recall.build(recall_spec(per_token=True), inputs, tmp_path)
    tokens = pd.read_parquet(tmp_path / "tokens.parquet")
    means = tokens.groupby(["checkpoint_step", "piece"]).loss_nats.mean()
    table = pd.read_parquet(built / "recall.parquet").query("measured == 'checkpoint'")
    pieces = table.set_index(["checkpoint_step", "piece"]).loss_nats
    assert means.to_numpy() == pytest.approx(pieces.reindex(means.index).to_numpy(), abs=1e-5)
    ends = tokens[tokens.checkpoint_step == 4].sort_values("position").position
    first = pd.read_parquet(tmp_path / "pieces.parquet").position.min()
    assert ends.tolist() == list(range(first, first + 24 * N_PIECES))
    model = AutoModelForCausalLM.from_pretrained(folders(inputs)[2], dtype=torch.float32)
    text = torch.tensor(np.load(inputs["new"] / "train.npy").astype(int))
    ids = text[first - 1 : first + 15][None]  # the first row: 16 tokens and their 16 targets
    with torch.no_grad():
        log_p = model(ids).logits.log_softmax(-1)[0, torch.arange(16), text[first : first + 16]]
    ours = tokens[(tokens.checkpoint_step == 2) & (tokens.position < first + 16)]
    assert ours.loss_nats.to_numpy() == pytest.approx(-log_p.numpy(), abs=1e-5)


def test_thinning_is_said_and_leaves_the_rest_unchanged(
    built: Path, inputs: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recall.build(recall_spec(every=2, checkpoints="final"), inputs, tmp_path)
    assert "measures 2 of 4 pieces" in capsys.readouterr().err
    thin = pd.read_parquet(tmp_path / "recall.parquet").query("measured == 'checkpoint'")
    assert set(thin.piece) == {0, 2} and set(thin.checkpoint_step) == {0, 4}
    full = pd.read_parquet(built / "recall.parquet")
    both = thin.merge(full, on=["checkpoint_step", "piece", "measured"])
    assert both.loss_nats_x.to_numpy() == pytest.approx(both.loss_nats_y.to_numpy(), abs=1e-5)
    summary = json.loads((tmp_path / "recall.json").read_text())
    assert summary == {"base_step": 10, "n_pieces": N_PIECES, "n_pieces_measured": 2}


def test_a_killed_attempt_goes_on_to_the_same_bytes(
    built: Path, inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALIMPSEST_SAVE_SECONDS", "0")
    broken = inputs["trains"][0] / "step-00000004"
    hidden = broken.rename(broken.with_name("hidden"))
    with pytest.raises(Exception, match="step-00000004"):
        recall.build(recall_spec(), inputs, tmp_path)
    assert (tmp_path / "resume.pt").is_file()
    hidden.rename(broken)
    recall.build(recall_spec(), inputs, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        file.name for file in built.iterdir()
    )
    for file in tmp_path.iterdir():
        assert file.read_bytes() == (built / file.name).read_bytes()
