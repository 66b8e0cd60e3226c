"""A step as it is shown: the batch, when its text was last seen, and its losses if known."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from training_inputs import STREAM, build_base, build_train, train_spec, write_inputs

from palimpsest import store
from palimpsest.core.losses import pack, row_losses
from palimpsest.core.models import load_causal_lm
from palimpsest.core.streams import make_stream
from palimpsest.faults import Fault
from palimpsest.plan import Artifact
from palimpsest.showing import shown_step, step_text

REPEATED = STREAM | {"repeats": 2}  # eight pieces of 32 targets, each twice: sixteen steps
RATIO = 0.25
CHECKPOINTS = {"kind": "steps", "steps": [2, 4]}


def artifact(stage: str, name: str, spec: Any = None, **inputs: Any) -> Artifact:
    return Artifact(stage, name, "0", spec or {}, inputs, code="", source={})


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Two epochs of one run and an edit after them, laid out as a plan and its artifacts are."""
    root = tmp_path_factory.mktemp("study")
    folder = {stage: root / "runs" / stage for stage in ("tokens", "bases", "train")}
    inputs = write_inputs(folder["tokens"])
    for role in ("new", "original"):
        inputs[role] = inputs[role].rename(folder["tokens"] / f"{role}-0")
        documents = {"document": [0, 1], "domain": ["one", "two"], "start_token": [0, 100]}
        pd.DataFrame(documents).to_parquet(inputs[role] / "train_documents.parquet")
    base = build_base(inputs, folder["bases"] / "base-0")
    setting = {"stream": REPEATED, "replay_fraction": RATIO, "checkpoints": CHECKPOINTS}
    specs = [train_spec(epoch=epoch, **setting) for epoch in (0, 1)]
    specs.append(train_spec() | {"phase": {"kind": "interpolate", "alpha": 0.5}})
    roles: dict[str, Any] = {r: artifact("tokens", r) for r in ("new", "original")}
    roles |= {"base": artifact("bases", "base")}
    chain, before = [], base
    for number, spec in enumerate(specs):
        out = folder["train"] / f"run-{number}-0"
        before = build_train(spec, inputs, out, before=before, base=base)
        last = chain[-1] if chain else roles["base"]
        chain.append(artifact("train", f"run-{number}", spec, before=last, **roles))
    for path in (base, *inputs.values(), *folder["train"].iterdir()):
        if path.exists():
            store.list_files(path)
    runs = [{"run": "run-2-0", "trains": [0, 1, 2]}, {"run": "run-1-0", "trains": [0, 1]}]
    tables = artifact("tables", "tables", {"runs": runs}, trains=chain)
    return SimpleNamespace(by_stage={"tables": {"tables": tables}}, root=root, inputs=inputs)


@pytest.fixture
def shown(study: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(study.root)
    return lambda step, run="run-2": shown_step(study, run, step)


def stream(study: SimpleNamespace, epoch: int = 0) -> Any:
    return make_stream(
        REPEATED,
        new=np.load(study.inputs["new"] / "train.npy"),
        original=np.load(study.inputs["original"] / "train.npy"),
        replay_fraction=RATIO,
        seed=0,
        epoch=epoch,
    )


def test_the_batch_is_the_stream_s_with_its_text_and_place(study, shown):
    content = shown(3)
    batch = stream(study).batch(2)
    new, *replayed = content["pieces"]
    assert (new["source"], new["piece"], new["n_tokens"]) == ("new", 1, 32)
    assert [piece["position"] for piece in replayed] == [row.position for row in batch.replay]
    tokens = [*batch.new[0].tokens, *batch.new[1].tokens[1:]]
    assert new["text"].replace(" ", "") == "".join(f"w{token}" for token in tokens)
    assert (new["document"], new["domain"]) == (0, "one")
    last = shown(16)["pieces"][0]
    assert (last["document"], last["domain"]) == (1, "two")


def test_a_repeat_was_last_seen_one_step_before_and_an_epoch_later_sixteen(shown):
    seen = {step: shown(step)["pieces"][0]["last_seen_step"] for step in (1, 2, 3, 17, 18)}
    assert seen == {1: None, 2: 1, 3: None, 17: 2, 18: 17}


def test_a_replayed_row_was_last_seen_where_its_text_was(study, shown):
    """The repeats of a batch replay the same rows; another epoch draws others."""
    assert all(piece["last_seen_step"] is None for piece in shown(1)["pieces"])
    assert all(piece["last_seen_step"] == 1 for piece in shown(2)["pieces"])


def loss_of(folder: Path, rows: Any) -> float:
    packed = pack(rows, max_tokens=100, device=torch.device("cpu"), pieces=True)
    sums, counts = row_losses(load_causal_lm(folder), packed)
    return float(sums.sum() / counts.sum())


def test_losses_are_computed_where_weights_are_kept(study, shown):
    """Weights lie after the steps 2, 4 and 16; before step 1 stands the base."""
    runs = study.root / "runs"
    piece = stream(study).pieces[0]
    first, second = shown(1)["pieces"], shown(2)["pieces"]
    base = runs / "bases" / "base-0" / "step-00000020"
    assert first[0]["loss_before_nats"] == pytest.approx(loss_of(base, piece.rows), rel=1e-5)
    after = runs / "train" / "run-0-0" / "step-00000002"
    assert second[0]["loss_after_nats"] == pytest.approx(loss_of(after, piece.rows), rel=1e-5)
    replay = stream(study).batch(1).replay
    for row, shown_row in zip(replay, second[1:], strict=True):
        assert shown_row["loss_after_nats"] == pytest.approx(loss_of(after, [row]), rel=1e-5)


def test_else_they_are_what_training_measured_or_unknown(study, shown):
    """Step 5 is the first of two on the piece 2; its weights are not kept, but those before are."""
    live = pd.read_parquet(study.root / "runs" / "train" / "run-0-0" / "live.parquet")
    sixth = shown(6)["pieces"]
    measured = live[(live.moment == "after_last") & (live.step == 6)].loss_nats
    assert sixth[0]["loss_after_nats"] == pytest.approx(float(measured.iloc[0]))
    assert sixth[0]["loss_after_from"] == "training"
    between = live[(live.moment == "after_repeat") & (live.step == 5)].loss_nats
    assert sixth[0]["loss_before_nats"] == pytest.approx(float(between.iloc[0]))
    assert sixth[0]["loss_before_from"] == "training"
    assert {piece["loss_before_from"] for piece in sixth[1:]} == {"unknown"}
    assert sixth[1]["loss_before_nats"] is None and sixth[1]["loss_after_nats"] is None


def test_an_edit_has_no_batch(shown):
    content = shown(33)
    assert (content["phase"], content["pieces"]) == ("interpolate", [])
    assert "has no batch" in step_text(content).renderables[1].plain


def test_for_a_person_it_is_text(shown):
    lines = [part.plain for part in step_text(shown(2)).renderables]
    assert lines[0] == "run-2-0, step 2, epoch 1, learning rate 0.01"
    assert lines[2].startswith("new, piece 0, one, document 0, from token ")
    assert lines[3].startswith("last seen at step 1; loss before ") and "(training)" in lines[3]
    assert any("loss before unknown" in line for line in lines[4:])


@pytest.mark.parametrize(
    ("run", "step", "line"),
    [
        ("run-2", 34, "run-2-0: no step 34; it took the steps 1 to 33"),
        ("run", 1, "run: is part of several runs; take one of run-1-0, run-2-0"),
        ("rum-2-0", 1, "rum-2-0: is no run; take one of "),
    ],
)
def test_a_mistake_is_one_line(shown, run, step, line):
    with pytest.raises(Fault) as raised:
        shown(step, run)
    assert str(raised.value).startswith(line) and "\n" not in str(raised.value)
