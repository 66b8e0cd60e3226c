from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from training_inputs import (
    STREAM,
    build_base,
    build_train,
    files,
    phase_json,
    train_spec,
    write_inputs,
)
from transformers import AutoModelForCausalLM, AutoTokenizer

from palimpsest.core.losses import pack, row_losses
from palimpsest.core.models import load_causal_lm
from palimpsest.core.streams import make_stream
from palimpsest.faults import Fault


class Bench:
    """Inputs and a base, and a folder for each training on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inputs = write_inputs(folder / "inputs")
        self.base = build_base(self.inputs, folder / "base")

    def train(self, name: str, *, before: Path | None = None, **spec: Any) -> Path:
        out = self.folder / name
        before = before or self.base
        return build_train(train_spec(**spec), self.inputs, out, before=before, base=self.base)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def first(bench: Bench) -> Path:
    checkpoints = {"kind": "log", "count": 3}
    return bench.train("first", replay_fraction=0.25, checkpoints=checkpoints)


def test_phase_json_counts_steps_tokens_and_checkpoints(first: Path) -> None:
    """256 new tokens in 8 batches of 32; a third of 256, 85 whole tokens, is replayed."""
    assert phase_json(first) == {
        "first_step": 0,
        "last_step": 8,
        "n_new_tokens": 256,
        "n_replay_tokens": 85,
        "sum_learning_rate": pytest.approx(0.08),
        "stop_reason": "epochs",
        "checkpoints": [{"step": step, "folder": f"step-0000000{step}"} for step in (2, 4, 8)],
        "final": "step-00000008",
        "n_forward": 0,
    }
    folders = {path.split("/")[0] for path in files(first) if "/" in path}
    assert folders == {"step-00000002", "step-00000004", "step-00000008"}


def test_live_losses_are_those_of_the_checkpoints(bench: Bench, first: Path) -> None:
    """Step 0 is the base, step 4 is kept: both can be measured again."""
    live = pd.read_parquet(first / "live.parquet").set_index(["moment", "step"])
    stream = make_stream(
        STREAM,
        new=np.load(bench.inputs["new"] / "train.npy"),
        original=np.load(bench.inputs["original"] / "train.npy"),
        replay_fraction=0.25,
        seed=0,
    )
    for moment, step, piece, folder in (
        ("before_first", 0, 0, bench.base / "step-00000020"),
        ("after_last", 4, 3, first / "step-00000004"),
        ("before_first", 4, 4, first / "step-00000004"),
        ("after_last", 8, 7, first / "step-00000008"),
    ):
        rows = stream.pieces[piece].rows
        packed = pack(rows, max_tokens=1000, device=torch.device("cpu"), pieces=True)
        sums, counts = row_losses(load_causal_lm(folder), packed)
        measured = live.loc[moment, step]
        assert (measured.piece, measured.n_tokens) == (piece, counts.sum())
        assert measured.loss_nats == pytest.approx(sums.sum() / counts.sum(), rel=1e-6)


def test_checkpoints_load_as_any_hugging_face_folder(first: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(first / "step-00000008")
    assert model.dtype == torch.float32
    assert AutoTokenizer.from_pretrained(first / "step-00000008").convert_ids_to_tokens(5) == "w5"


def test_an_epoch_goes_on_with_steps_tokens_moments_and_policy(bench: Bench, first: Path) -> None:
    second = bench.train("second", before=first, epoch=1, replay_fraction=0.25)
    said = phase_json(second)
    assert (said["first_step"], said["last_step"]) == (8, 16)
    assert (said["n_new_tokens"], said["n_replay_tokens"]) == (512, 171)
    assert said["sum_learning_rate"] == pytest.approx(0.16)
    log = pd.read_parquet(second / "log.parquet")
    assert log.step.tolist() == list(range(9, 17))
    assert set(log.epoch) == {1}
    assert n_updates(second) == 16


def test_a_cosine_and_a_changing_ratio_run_over_all_epochs(bench: Bench) -> None:
    """16 updates of 32 new tokens: the ratio climbs from 0 to 1/2, the rate falls to 0."""
    setting: dict[str, Any] = {
        "policy": {"kind": "cosine", "learning_rate": 1e-2},
        "replay_fraction": {"start": 0.0, "end": 0.5},
        "epochs": 2,
    }
    first = bench.train("climb-1", **setting)
    second = bench.train("climb-2", before=first, epoch=1, **setting)
    log = pd.concat(pd.read_parquet(path / "log.parquet") for path in (first, second))
    cosine = 1e-2 * (1 + np.cos(np.pi * np.arange(16) / 15)) / 2
    assert log.learning_rate.tolist() == pytest.approx(cosine.tolist(), abs=1e-12)
    replayed = np.diff(log.n_replay_tokens, prepend=0)
    ratio = np.arange(16) / 30
    assert np.abs(np.cumsum(32 * ratio / (1 - ratio)) - np.cumsum(replayed)).max() < 1


def test_a_phase_starts_with_fresh_moments_unless_they_are_carried(
    bench: Bench, first: Path
) -> None:
    assert n_updates(bench.train("fresh", before=first)) == 8
    assert n_updates(bench.train("carried", before=first, carry_optimizer=True)) == 16
    with pytest.raises(Fault, match="no moments"):
        bench.train("nothing", carry_optimizer=True)


def n_updates(folder: Path) -> int:
    state = torch.load(folder / "state.pt", weights_only=True)
    return int(state["optimizer"]["n_updates"])


def test_drift_is_measured_from_the_run_s_base(bench: Bench, first: Path) -> None:
    second = bench.train("drift", before=first)
    now = load_causal_lm(second / "step-00000016")
    base = load_causal_lm(bench.base / "step-00000020")
    pairs = zip(now.parameters(), base.parameters(), strict=True)
    moved = torch.cat([(a - b).detach().abs().flatten() for a, b in pairs])
    log = pd.read_parquet(second / "log.parquet")
    assert log.mad_drift.iloc[-1] == pytest.approx(float(moved.double().mean()), rel=1e-5)


def test_a_run_may_start_from_an_earlier_checkpoint_of_the_base(bench: Bench) -> None:
    start = bench.train("early", base_step=5, policy={"kind": "fixed", "learning_rate": 1e-30})
    assert (start / "step-00000008" / "model.safetensors").read_bytes() == (
        bench.base / "step-00000005" / "model.safetensors"
    ).read_bytes()
    with pytest.raises(Fault, match=r"\[5, 10, 20\]"):
        bench.train("none", base_step=7)


def test_an_ended_phase_takes_no_further_step(bench: Bench) -> None:
    """Steps 1-3 of 8; the following epoch keeps the weights and says why."""
    first = bench.train("ended", stop={"steps": 3})
    said = phase_json(first)
    assert (said["stop_reason"], said["last_step"], said["final"]) == ("steps", 3, "step-00000003")
    assert said["checkpoints"] == [{"step": 3, "folder": "step-00000003"}]
    second = bench.train("after", before=first, epoch=1, stop={"steps": 3})
    said = phase_json(second)
    assert (said["first_step"], said["last_step"], said["checkpoints"]) == (3, 3, [])
    assert said["stop_reason"] == "steps"
    name = "step-00000003/model.safetensors"
    assert (second / name).read_bytes() == (first / name).read_bytes()
    assert len(pd.read_parquet(second / "log.parquet")) == 0
    assert pd.read_parquet(second / "pieces.parquet").first_step.isna().all()


def test_steps_of_the_rule_count_over_epochs(bench: Bench) -> None:
    first = bench.train("eight", stop={"steps": 10})
    second = bench.train("ten", before=first, epoch=1, stop={"steps": 10})
    assert phase_json(second)["last_step"] == 10
    assert phase_json(second)["stop_reason"] == "steps"


def test_questions_are_learnt_by_heart_and_end_the_phase(bench: Bench) -> None:
    phase: dict[str, Any] = {
        "stream": {"kind": "questions", "sequence_length": 16, "n_batches": 200},
        "stop": {"accuracy": 0.8, "accuracy_every": 2},
    }
    out = bench.train("questions", **phase)
    log = pd.read_parquet(out / "log.parquet")
    assert phase_json(out)["stop_reason"] == "accuracy"
    asked = log[log.share_correct.notna()]
    assert asked.step.tolist() == list(range(2, phase_json(out)["last_step"] + 1, 2))
    assert asked.share_correct.iloc[0] < 0.8
    assert asked.share_correct.iloc[-1] == 1.0


def test_accuracy_needs_questions(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(bench.inputs, "questions")
    with pytest.raises(Fault, match=r"stop\.accuracy"):
        bench.train("unasked", stop={"accuracy": 0.8})


def test_pure_replay_trains_on_no_piece(bench: Bench) -> None:
    out = bench.train("replay", replay_fraction=1.0)
    assert phase_json(out)["n_new_tokens"] == 0
    assert phase_json(out)["n_replay_tokens"] == 256
    assert len(pd.read_parquet(out / "live.parquet")) == 0
    pieces = pd.read_parquet(out / "pieces.parquet")
    assert len(pieces) == 8
    assert pieces.first_step.isna().all()


def test_the_same_spec_gives_the_same_bytes(bench: Bench, first: Path) -> None:
    checkpoints = {"kind": "log", "count": 3}
    again = bench.train("again", replay_fraction=0.25, checkpoints=checkpoints)
    assert files(again) == files(first)


def test_checkpoints_on_the_way_may_be_kept_in_bf16(bench: Bench) -> None:
    """Training goes on from fp32 all the same: both ways end in the same weights."""
    ways = {}
    for dtype in ("fp32", "bf16"):
        kept = {"kind": "even", "count": 2, "dtype": dtype}
        out = bench.train(f"kept_{dtype}", checkpoints=kept)
        ways[dtype] = [load_file(out / f"step-0000000{n}" / "model.safetensors") for n in (4, 8)]
    half, end = ways["bf16"]
    assert {tensor.dtype for tensor in half.values()} == {torch.bfloat16}
    assert all(torch.equal(half[name], whole.bfloat16()) for name, whole in ways["fp32"][0].items())
    assert all(torch.equal(end[name], whole) for name, whole in ways["fp32"][1].items())
    loaded = load_causal_lm(bench.folder / "kept_bf16" / "step-00000004")
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


def test_an_early_end_is_kept_in_fp32(bench: Bench) -> None:
    """A rate of 10 triples the loss at once; where the phase ends, no one knows before."""
    out = bench.train(
        "early_end",
        policy={"kind": "fixed", "learning_rate": 10.0},
        checkpoints={"kind": "steps", "steps": [1, 2, 3], "dtype": "bf16"},
        stop={"diverged_patience": 1},
    )
    assert phase_json(out)["stop_reason"] == "diverged"
    assert phase_json(out)["last_step"] in (1, 2, 3)
    final = load_file(out / phase_json(out)["final"] / "model.safetensors")
    assert {tensor.dtype for tensor in final.values()} == {torch.float32}


def test_moments_may_be_left_out(bench: Bench) -> None:
    out = bench.train("no_moments", checkpoints={"kind": "final", "moments": False})
    state = torch.load(out / "state.pt", weights_only=True)
    assert sorted(state) == ["policy", "stops"]
