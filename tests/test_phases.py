"""Phases that keep old text, through the stages: what EWC, edits and orders by difficulty do."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from test_recall_after_training import write_held_out
from test_train import Bench
from training_inputs import STREAM, files, phase_json, train_spec

from palimpsest.core.losses import pack, row_losses
from palimpsest.core.models import load_causal_lm
from palimpsest.core.streams import make_stream, original_rows
from palimpsest.faults import Fault
from palimpsest.stages import probes, recall

CPU = torch.device("cpu")
EWC = {"strength": 100.0, "fisher_tokens": 320}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    found = Bench(tmp_path_factory.mktemp("phases"))
    found.inputs["fisher"] = measure(found, "fisher", n_tokens=640, sequence_length=16, seed=0)
    return found


@pytest.fixture(scope="module")
def plain(bench: Bench) -> Path:
    fisher = bench.inputs.pop("fisher")
    out = bench.train("plain", ewc=None)
    bench.inputs["fisher"] = fisher
    return out


def measure(bench: Bench, kind: str, **spec: Any) -> Path:
    out = bench.folder / f"{kind}-{len(list(bench.folder.iterdir()))}"
    out.mkdir()
    inputs = {"base": bench.base, **bench.inputs}
    probes.build({"kind": kind, "base_step": "final", **spec}, inputs, out)
    return out


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def final(folder: Path) -> dict[str, torch.Tensor]:
    return weights(folder / phase_json(folder)["final"])


def test_the_fisher_artifact_names_every_weight(bench: Bench) -> None:
    named = load_file(bench.inputs["fisher"] / "fisher.safetensors")
    model = load_causal_lm(bench.base / "step-00000020")
    assert {name: one.numel() for name, one in named.items()} == {
        name: parameter.numel() for name, parameter in model.named_parameters()
    }
    said = json.loads((bench.inputs["fisher"] / "fisher.json").read_text())
    assert (said["n_sequences"], said["n_tokens"]) == (40, 640)
    assert said["mean"] > 0


def test_ewc_of_strength_0_is_plain_training_to_the_bit(bench: Bench, plain: Path) -> None:
    assert (
        files(bench.train("strength-0", ewc=EWC | {"strength": 0.0}))["state.pt"]
        == (files(plain)["state.pt"])
    )
    before, after = final(plain), final(bench.folder / "strength-0")
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_ewc_of_huge_strength_leaves_the_weights_unmoved(bench: Bench) -> None:
    held = final(bench.train("strength-huge", ewc=EWC | {"strength": 1e30}))
    base = weights(bench.base / "step-00000020")
    assert all(torch.equal(held[name], base[name]) for name in base)


def test_ewc_moves_less_the_stronger_it_is(bench: Bench, plain: Path) -> None:
    drifts = [last_drift(plain)]
    for strength in (1.0, 100.0, 10_000.0):
        out = bench.train(f"strength-{strength:g}", ewc=EWC | {"strength": strength})
        drifts.append(last_drift(out))
    assert drifts == sorted(drifts, reverse=True)
    assert drifts[-1] < drifts[0] / 2


def last_drift(folder: Path) -> float:
    return float(pd.read_parquet(folder / "log.parquet").relative_drift.iloc[-1])


def test_interpolation_gives_both_ends_exactly_and_a_step_of_its_own(
    bench: Bench, plain: Path
) -> None:
    base, trained = weights(bench.base / "step-00000020"), final(plain)
    for alpha, end in ((0.0, base), (1.0, trained)):
        out = edit(bench, plain, kind="interpolate", alpha=alpha)
        assert all(torch.equal(final(out)[name], end[name]) for name in end)
    said = phase_json(out)
    assert (said["first_step"], said["last_step"], said["stop_reason"]) == (8, 9, "epochs")
    assert said["checkpoints"] == [{"step": 9, "folder": "step-00000009"}]
    assert (said["n_new_tokens"], said["n_replay_tokens"]) == (256, 0)
    assert len(pd.read_parquet(out / "live.parquet")) == 0
    assert (out / "state.pt").read_bytes() == (plain / "state.pt").read_bytes()


def edit(bench: Bench, before: Path, **settings: Any) -> Path:
    from palimpsest.stages import train

    out = bench.folder / f"edit-{len(list(bench.folder.iterdir()))}"
    out.mkdir()
    spec = {"phase": settings, "epoch": 0, "epochs": None, "seed": 0, "base_step": "final"}
    train.build(spec, {"before": before, "base": bench.base}, out)
    return out


def test_pruning_takes_the_smallest_half_of_all_changes_back(bench: Bench, plain: Path) -> None:
    out = edit(bench, plain, kind="prune_drift", fraction=0.5)
    base, trained = weights(bench.base / "step-00000020"), final(plain)
    moved = torch.cat([(trained[name] - base[name]).abs().flatten() for name in base])
    kept = torch.cat([(final(out)[name] - base[name]).abs().flatten() for name in base])
    assert kept.sort().values[: len(moved) // 2].max() == 0
    assert torch.equal(
        kept.sort().values[-(len(moved) // 2) :], moved.sort().values[-(len(moved) // 2) :]
    )
    row = pd.read_parquet(out / "log.parquet").iloc[-1]
    assert row.mad_drift == pytest.approx(float(kept.double().mean()), rel=1e-5)
    assert row.update_norm == pytest.approx(float((moved - kept).double().norm()), rel=1e-5)


def test_training_goes_on_from_an_edit(bench: Bench, plain: Path) -> None:
    back = edit(bench, plain, kind="interpolate", alpha=0.0)
    carried = bench.train("after-edit", before=back, carry_optimizer=True, ewc=None)
    assert phase_json(carried)["first_step"] == 9
    state = torch.load(carried / "state.pt", weights_only=True)
    assert int(state["optimizer"]["n_updates"]) == 16


def test_losses_per_piece_are_the_base_s(bench: Bench) -> None:
    out = measure(bench, "losses", of="new", stream=STREAM, replay_fraction=0.0, seed=0)
    found = pd.read_parquet(out / "losses.parquet")
    stream = make_stream(
        STREAM,
        new=np.load(bench.inputs["new"] / "train.npy"),
        original=None,
        replay_fraction=0.0,
        seed=0,
    )
    model = load_causal_lm(bench.base / "step-00000020")
    for piece, measured in zip(stream.pieces, found.itertuples(), strict=True):
        sums, counts = row_losses(model, pack(piece.rows, max_tokens=10, device=CPU, pieces=True))
        assert (measured.position, measured.n_tokens) == (piece.position, counts.sum())
        assert measured.loss_nats == pytest.approx(sums.sum() / counts.sum(), rel=1e-5)


@pytest.mark.parametrize(("order", "sign"), [("easy-first", 1), ("hard-first", -1)])
def test_new_text_comes_by_the_base_s_loss(bench: Bench, order: str, sign: int) -> None:
    spec = {"of": "new", "stream": STREAM, "replay_fraction": 0.0, "seed": 0}
    bench.inputs["difficulty"] = measure(bench, "losses", **spec)
    out = bench.train(order, stream=STREAM | {"order": order}, ewc=None)
    losses = pd.read_parquet(bench.inputs.pop("difficulty") / "losses.parquet").loss_nats
    taken = pd.read_parquet(out / "pieces.parquet").sort_values("first_step").piece
    assert taken.tolist() == (sign * losses).sort_values(kind="stable").index.tolist()


@pytest.mark.parametrize(("order", "sign"), [("easy-first", 1), ("hard-first", -1)])
def test_replayed_text_comes_by_the_base_s_loss(bench: Bench, order: str, sign: int) -> None:
    """Pure replay of 16 rows, one at each half of an update: their losses are in order."""
    measured = measure(bench, "losses", of="original", sequence_length=16)
    losses = pd.read_parquet(measured / "losses.parquet")
    tokens = np.load(bench.inputs["original"] / "train.npy")
    assert losses.position.tolist() == [
        row.position for row in original_rows(tokens, sequence_length=16)
    ]
    stream = make_stream(
        STREAM | {"replay_order": order},
        new=np.load(bench.inputs["new"] / "train.npy"),
        original=tokens,
        replay_fraction=1.0,
        seed=0,
        replay_difficulty=losses.loss_nats.to_numpy(),
    )
    by_position = losses.set_index("position").loss_nats
    seen = [
        sign * by_position[row.position] for step in range(8) for row in stream.batch(step).replay
    ]
    assert len(seen) == 16 and seen == sorted(seen)
    bench.inputs["replay_difficulty"] = measured
    stream_settings = STREAM | {"replay_order": order}
    out = bench.train(f"replay-{order}", stream=stream_settings, replay_fraction=1.0, ewc=None)
    del bench.inputs["replay_difficulty"]
    assert phase_json(out)["n_replay_tokens"] == 256


def test_a_middle_part_is_retrained_on_the_same_pieces(bench: Bench, plain: Path) -> None:
    """Eight pieces; .25 to .75 are the pieces 2 to 5."""
    part = {"start": 0.25, "end": 0.75}
    out = bench.train("middle", before=plain, stream=STREAM | {"part": part}, ewc=None)
    pieces = pd.read_parquet(out / "pieces.parquet")
    assert pieces.position.tolist() == pd.read_parquet(plain / "pieces.parquet").position.tolist()
    assert pieces.first_step.dropna().tolist() == [9, 10, 11, 12]
    assert pieces[pieces.first_step.notna()].piece.tolist() == [2, 3, 4, 5]
    assert phase_json(out)["n_new_tokens"] == 256 + 128


def test_a_fisher_of_another_model_is_refused(bench: Bench) -> None:
    small = bench.folder / "other-fisher"
    small.mkdir()
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(3)}, small / "fisher.safetensors")
    right, bench.inputs["fisher"] = bench.inputs["fisher"], small
    with pytest.raises(Fault, match="not of this model"):
        bench.train("wrong", ewc=EWC)
    bench.inputs["fisher"] = right


@pytest.mark.parametrize("what", ["edit", "replay alone"])
def test_recall_measures_phases_that_train_on_no_piece(
    bench: Bench, plain: Path, what: str
) -> None:
    for seed, role in enumerate(("new", "original"), start=5):
        write_held_out(bench.inputs[role], seed)
    phases = [train_spec(ewc=None), train_spec(ewc=None, replay_fraction=1.0)]
    if what == "edit":
        phases[1] = phases[0] | {"phase": {"kind": "interpolate", "alpha": 0.5}}
        last = edit(bench, plain, kind="interpolate", alpha=0.5)
    else:
        last = bench.train("alone", before=plain, replay_fraction=1.0, ewc=None)
    out = bench.folder / f"recall-{what.replace(' ', '-')}"
    out.mkdir()
    spec: dict[str, Any] = {"every": 1, "held_out_tokens": 64, "drift_tokens": 32}
    spec["checkpoints"] = "all"
    spec["per_token"] = False
    inputs = {"base": bench.base, "trains": [plain, last], **bench.inputs}
    recall.build(spec | {"phases": phases}, inputs, out)
    table = pd.read_parquet(out / "recall.parquet")
    steps = table[table.measured == "checkpoint"].groupby("checkpoint_step").piece.nunique()
    assert steps.to_dict() == {0: 8, 8: 8, phase_json(last)["last_step"]: 8}
    pieces = pd.read_parquet(out / "pieces.parquet")
    assert pieces.last_step.tolist() == list(range(1, 9))
