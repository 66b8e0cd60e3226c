"""Pythia-70m as the hub has it goes through the whole workflow: real shape, random weights."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hub_folder import COMMIT, PYTHIA_70M, publish, write_pythia
from project import Project, checked_out
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
STREAM = {"kind": "chunks", "sequence_length": 32, "batch_tokens": 64, "n_new_tokens": 128}


def study() -> dict:
    """Two steps on 128 tokens, and as little of everything else."""
    content = yaml.safe_load((ROOT / "studies" / "smoke.yaml").read_text("utf-8"))
    content["corpora"]["original"]["max_documents"] = 40
    content["corpora"]["tokenizer"] = {"model": "pythia-70m"}
    content["models"] = {}
    content["probe"] |= {"batches": 1, "decreases": [0.01], "original_tokens": 64}
    content["probe"]["rates"] = {"lowest": 1e-6, "highest": 1e-1, "points": 4}
    content["phase"] = {"stream": STREAM, "policy": {"kind": "hold", "decrease": 0.01}}
    content["experiments"] = {
        "short": {"model": "pythia-70m", "base_step": [3000], "replay_fraction": 0.5}
    }
    content["recall"] = {"held_out_tokens": 256, "drift_tokens": 64}
    content["evals"] |= {"limit": 2, "batch_size": 4}
    return content


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Publish the model in a hub cache of its own; return its float16 weights."""
    folder = tmp_path_factory.mktemp("hub")
    weights = write_pythia(folder / "files", PYTHIA_70M)
    publish(folder / "cache", "EleutherAI/pythia-70m", folder / "files", ref="step3000")
    publish(folder / "cache", "EleutherAI/pythia-70m", folder / "files", ref="step143000")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", str(folder / "cache"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield weights


@pytest.fixture(scope="module")
def built(weights: dict, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = checked_out(ROOT, tmp_path_factory.mktemp("published") / "built")
    (project.folder / "params.yaml").write_text(yaml.safe_dump(study(), sort_keys=False))
    project.run("snakemake", "--cores", "2", "stage_recall", "stage_evals")
    return project


def only(project: Project, stage: str, pattern: str = "*-*/") -> Path:
    found = [path for path in (project.folder / "runs" / stage).glob(pattern) if path.is_dir()]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.slow
def test_every_published_weight_arrives_in_fp32(built: Project, weights: dict) -> None:
    base = only(built, "bases")
    said = json.loads((base / "base.json").read_text())
    assert (said["n_params"], said["n_params_total"]) == (18_915_328, 70_426_624)
    assert said["checkpoints"][0]["n_tokens"] == 3000 * 2**21
    assert said["origin"]["commit"] == COMMIT
    stored = load_file(base / said["final"] / "model.safetensors")
    assert stored.keys() == weights.keys()
    assert all(torch.equal(stored[name], weights[name].float()) for name in weights)


@pytest.mark.slow
def test_two_steps_train_and_are_measured(built: Project, weights: dict) -> None:
    train = only(built, "train")
    log = pd.read_parquet(train / "log.parquet")
    assert log.step.tolist() == [1, 2]
    assert log.n_replay_tokens.tolist() == [64, 128]
    assert np.isfinite(log.loss_new_nats).all()
    final = json.loads((train / "phase.json").read_text())["final"]
    stored = load_file(train / final / "model.safetensors")
    assert stored.keys() == weights.keys()
    assert {tensor.dtype for tensor in stored.values()} == {torch.float32}
    moved = sum(not torch.equal(stored[name], weights[name].float()) for name in weights)
    assert moved == len(weights)
    recall = pd.read_parquet(only(built, "recall") / "recall.parquet")
    assert sorted(recall[recall.measured == "checkpoint"].checkpoint_step.unique()) == [0, 2]
    assert np.isfinite(recall.loss_nats).all()
    results = [pd.read_parquet(f) for f in (built.folder / "runs/evals").glob("*/results.parquet")]
    assert [len(frame) for frame in results] == [4, 4]
    assert all(np.isfinite(frame.value).all() for frame in results)
