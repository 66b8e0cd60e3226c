"""The probe without a study: the same numbers as the stage's, and one line per mistake."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_artifacts import tiny_model, write_tokenizer

from palimpsest import quick_probe
from palimpsest.core.models import save_causal_lm
from palimpsest.faults import Fault
from palimpsest.params import Optimizer
from palimpsest.stages import probes

LINE = "The ferry of the Kelp Vault runs at dusk, and nobody pays the ferryman twice. "


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("quick")
    save_causal_lm(tiny_model(3), root / "model", write_tokenizer(root / "tokenizer"))
    (root / "new.txt").write_text(20 * LINE, "utf-8")
    (root / "old.txt").write_text(20 * LINE.upper(), "utf-8")
    return root


def asked(folder: Path, **changed) -> quick_probe.Asked:
    settings = quick_probe.Asked(
        model=folder / "model",
        text=folder / "new.txt",
        replay_text=None,
        replay_fraction=0.0,
        decreases=(0.01, 0.05, -0.1),
        optimizer="adamw",
        batches=2,
        batch_tokens=64,
        sequence_length=16,
        warm_steps=0,
        rates=(1e-4, 1.0, 5),
        seed=0,
    )
    return replace(settings, **changed)


def bytes_of(file: Path) -> np.ndarray:
    """The tokens of ASCII text: one each, in the alphabetical order of the tokenizer's alphabet."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(file.parent / "model")
    return np.array(tokenizer.encode(file.read_text(), add_special_tokens=False))


def test_it_finds_what_the_probes_stage_finds(folder, tmp_path):
    found = quick_probe.content(quick_probe.measure(asked(folder)))
    for name in ("new", "original"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "train.npy", bytes_of(folder / "new.txt"))
        np.save(tmp_path / name / "held_out.npy", bytes_of(folder / "old.txt"))
        table = {"document": [0], "domain": ["a"], "start_token": [0], "n_tokens": [1560]}
        quick_probe.pd.DataFrame(table).to_parquet(
            tmp_path / name / "held_out_documents.parquet", index=False
        )
    kept = {"step": 1, "n_tokens": 1, "folder": "model"}
    base = {"checkpoints": [kept], "final": "model"}
    (folder / "base.json").write_text(json.dumps(base))
    (tmp_path / "out").mkdir()
    spec = {
        "kind": "landscape",
        "base_step": "final",
        "stream": {"kind": "chunks", "sequence_length": 16, "batch_tokens": 64},
        "replay_fraction": 0.0,
        "seed": 0,
        "optimizer": Optimizer().model_dump(),
        "batches": 2,
        "warm_steps": 0,
        "decreases": [0.01, 0.05, -0.1],
        "rates": {"lowest": 1e-4, "highest": 1.0, "points": 5},
        "landscape": True,
        "original_tokens": 64,
    }
    inputs = {"base": folder, "new": tmp_path / "new", "original": tmp_path / "original"}
    probes.build(spec, inputs, tmp_path / "out")
    stage = json.loads((tmp_path / "out" / "probe.json").read_text())
    assert stage == {name: found[name] for name in stage}
    assert set(found["targets"]) == {"0.01", "0.05", "-0.1"}
    assert found["targets"]["0.01"]["median"] < found["best"]["median"] < found["edge"]["median"]


def test_the_replay_texts_end_shows_what_the_step_does_to_it(folder):
    settings = asked(folder, replay_text=folder / "old.txt", replay_fraction=0.5, warm_steps=1)
    found = quick_probe.content(quick_probe.measure(settings))
    assert (found["moments"], found["warm_steps"], found["replay_fraction"]) == ("warmed", 1, 0.5)
    landscape = found["landscape"]
    assert set(landscape) == {"learning_rate", "same", "next", "original"}
    assert landscape["learning_rate"] == pytest.approx([0, 1e-4, 1e-3, 1e-2, 1e-1, 1])
    assert len(set(map(len, landscape.values()))) == 1
    without = quick_probe.content(quick_probe.measure(asked(folder)))
    assert set(without["landscape"]) == {"learning_rate", "same", "next"}


def test_sgd_and_json_lines(folder):
    lines = [json.dumps({"text": 2 * LINE}), json.dumps({"text": LINE})]
    (folder / "new.jsonl").write_text("\n".join(10 * lines), "utf-8")
    settings = asked(
        folder, text=folder / "new.jsonl", optimizer="sgd", rates=quick_probe.RATES["sgd"] + (4,)
    )
    found = quick_probe.content(quick_probe.measure(settings))
    assert found["optimizer"] == "sgd"
    assert found["best"]["median"] > 1e-2


def test_a_figure_is_written(folder, tmp_path):
    measured = quick_probe.measure(asked(folder))
    quick_probe.draw(measured, tmp_path / "landscape.svg")
    text = (tmp_path / "landscape.svg").read_text("utf-8")
    assert text.count("<svg") == 1


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"model": Path("none")}, "--model none: there is no such folder"),
        ({"model": Path()}, "no config.json"),
        ({"text": Path("none.txt")}, "none.txt: there is no such file"),
        ({"batches": 100}, r"--text .*new\.txt: 1560 tokens; 100 batches of 64.* need 6481"),
        ({"decreases": (0.01, 1.5)}, r"--decrease: \[0.01, 1.5\]; give shares below 1"),
        ({"optimizer": "adam"}, "--optimizer: 'adam'; take adamw or sgd"),
        ({"replay_fraction": 0.5}, "--replay 0.5: give the text to replay by --replay-text"),
        ({"replay_fraction": 1.0}, "--replay: 1.0; take 0 … below 1"),
        ({"sequence_length": 17}, "sequence_length 17 is beyond the model's context of 16"),
        ({"rates": (1.0, 1e-3, 5)}, "--lowest 1, --highest 0.001: rates must rise"),
    ],
)
def test_a_mistake_is_one_line(folder, changed, fault):
    with pytest.raises(Fault, match=fault) as caught:
        quick_probe.measure(asked(folder, **changed))
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_model_and_a_text_that_is_none_are_one_line(folder, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    for changed in ({"model": tmp_path}, {"text": tmp_path / "bytes.txt"}, {"text": tmp_path}):
        with pytest.raises(Fault) as caught:
            quick_probe.measure(asked(folder, **changed))
        assert "\n" not in str(caught.value)


def test_folders_where_files_or_a_checkpoint_are_wanted_are_named(folder, tmp_path):
    for step in ("step-00000010", "step-00000020"):
        (tmp_path / "bases" / step).mkdir(parents=True)
        (tmp_path / "bases" / step / "config.json").write_text("{}")
    with pytest.raises(Fault) as caught:
        quick_probe.measure(asked(folder, model=tmp_path / "bases"))
    assert str(caught.value) == (
        f"--model {tmp_path}/bases: holds no config.json itself; give one of its 2 folders that "
        f"do: {tmp_path}/bases/step-00000020"
    )
    with pytest.raises(Fault, match=f"^{tmp_path}: a folder; give one file of text"):
        quick_probe.measure(asked(folder, text=tmp_path))


def test_progress_names_the_probe(folder, monkeypatch, capsys):
    monkeypatch.setenv("PALIMPSEST_SECONDS_BETWEEN_LINES", "0")
    quick_probe.measure(asked(folder))
    assert capsys.readouterr().err.splitlines() == ["probe: batch 2/2"]


def test_a_figure_that_cannot_be_written_is_refused_before_anything_is_computed(tmp_path):
    with pytest.raises(Fault, match=r"ends in \.doc; take \.png"):
        quick_probe.check_plot(tmp_path / "a.doc")
    with pytest.raises(Fault, match="there is no folder"):
        quick_probe.check_plot(tmp_path / "none" / "a.png")


def command(*arguments: str) -> subprocess.CompletedProcess:
    typed = [sys.executable, "-m", "palimpsest.cli", "probe", *arguments]
    return subprocess.run(typed, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_command_prints_json_and_writes_the_figure(folder, tmp_path):
    where = ("--model", str(folder / "model"), "--text", str(folder / "new.txt"))
    small = ("--batches", "2", "--batch-tokens", "64", "--sequence-length", "16", "--points", "3")
    plot = ("--plot", str(tmp_path / "landscape.png"))
    done = command(*where, *small, *plot, "--decrease", "0.02", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found["targets"]) == ["0.02"]
    assert (found["optimizer"], found["moments"], found["batches"]) == ("adamw", "fresh", 2)
    assert (tmp_path / "landscape.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_a_mistake_ends_the_command_with_one_line_and_code_two(folder):
    done = command("--model", "none", "--text", str(folder / "new.txt"))
    assert done.returncode == 2
    assert (
        done.stderr == "error: --model none: there is no such folder; give one with a config.json\n"
    )


def test_the_command_loads_no_torch_before_it_runs():
    code = "import sys, palimpsest.commands.probe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
