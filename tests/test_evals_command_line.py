"""Our numbers against the `lm_eval` command line's, on the tasks that come with the program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from tiny_artifacts import VOCAB_SIZE, write_tokenizer

from palimpsest.core.models import new_neox, save_causal_lm
from palimpsest.stages import evals

ROOT = Path(__file__).parents[1]
TASKS = ("lambada_local", "hellaswag_local")
LIMIT, BATCH_SIZE = 300, 32


@pytest.mark.slow
def test_values_are_the_command_lines_and_errors_its_bootstraps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # task files name their data from the project's root
    shape = {"hidden_size": 16, "layers": 2, "heads": 2, "vocab_size": VOCAB_SIZE}
    model = new_neox(**shape, context_length=1024, seed=3)  # a token is a byte
    save_causal_lm(model, tmp_path / "model", write_tokenizer(tmp_path / "tokenizer"))
    spec = {"tasks": TASKS, "task_dir": "data/tasks", "limit": LIMIT, "batch_size": BATCH_SIZE}
    evals.build(
        spec | {"folder": "model"}, {"weights": tmp_path, "known": tmp_path / "known"}, tmp_path
    )
    ours = pd.read_parquet(tmp_path / "results.parquet").set_index(["task", "metric"])
    theirs = command_line(tmp_path / "model", tmp_path / "theirs")
    assert set(ours.index.get_level_values("metric")) == {"acc", "acc_norm", "perplexity"}
    for task, metric in ours.index:
        assert ours.value[task, metric] == theirs[task][f"{metric},none"], (task, metric)
        error = theirs[task][f"{metric}_stderr,none"]
        assert ours.stderr[task, metric] == pytest.approx(error, rel=0.02), (task, metric)


def command_line(model: Path, out: Path) -> dict[str, dict[str, float]]:
    """Call `lm_eval` as a person would and return what it wrote."""
    options = f"--model hf --model_args pretrained={model},dtype=float32 --include_path data/tasks"
    options += f" --tasks {','.join(TASKS)} --limit {LIMIT} --batch_size {BATCH_SIZE} --device cpu"
    call = [sys.executable, "-m", "lm_eval", "run", *options.split(), "--output_path", str(out)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run(call, env=environment, check=True, capture_output=True)
    (file,) = out.rglob("results_*.json")
    results: dict[str, dict[str, float]] = json.loads(file.read_text())["results"]
    return results
