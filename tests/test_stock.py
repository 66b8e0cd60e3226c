"""lm-eval's own tasks as folders: fetched once, evaluated without network."""

import json
from pathlib import Path

import datasets
import huggingface_hub.constants
import pandas as pd
import pytest
from hub_folder import COMMIT, publish
from tiny_artifacts import write_base, write_tokenizer

from palimpsest.core.stock import task_file
from palimpsest.faults import Fault
from palimpsest.stages import corpora, evals

STORIES = [{"text": "the tide went out"}, {"text": "ring the salt bell"}, {"text": "a b"}]
ENDINGS = {
    "ind": 1,
    "activity_label": "Ringing",
    "ctx_a": "A keeper takes the rope.",
    "ctx_b": "he",
    "ctx": "A keeper takes the rope. he",
    "endings": ["pulls it [step] twice.", "eats it.", "sells it.", "folds it."],
    "source_id": "x",
    "split": "val",
    "split_type": "indomain",
    "label": "0",
}
CARD = """---
configs:
- config_name: default
  data_files:
  - split: test
    path: data/test.jsonl
---
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache with both data sets in their published form, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    lambada, hellaswag = tmp_path / "lambada", tmp_path / "hellaswag"
    (lambada / "data").mkdir(parents=True)
    (lambada / "README.md").write_text(CARD)
    (lambada / "data" / "test.jsonl").write_text("".join(json.dumps(s) + "\n" for s in STORIES))
    (hellaswag / "data").mkdir(parents=True)
    for split in ("train", "validation"):
        rows = pd.DataFrame([ENDINGS | {"ind": n} for n in range(5)])
        rows.to_parquet(hellaswag / "data" / f"{split}-00000-of-00001.parquet")
    publish(tmp_path / "cache", "EleutherAI/lambada_openai", lambada, ref="pinned", kind="datasets")
    publish(tmp_path / "cache", "Rowan/hellaswag", hellaswag, ref="pinned", kind="datasets")
    return tmp_path / "cache"


def fetched(tmp_path: Path, task: str) -> Path:
    out = tmp_path / f"benchmark_{task}"
    out.mkdir()
    spec = {"kind": "benchmark", "task": task, "revision": "pinned", "lm_eval": "0"}
    corpora.build(spec, {}, out)
    return out


def test_stock_tasks_are_evaluated_from_their_folders(tmp_path: Path, cache: Path) -> None:
    folders = [fetched(tmp_path, task) for task in ("lambada_openai", "hellaswag")]
    origin = json.loads((folders[0] / "origin.json").read_text())
    assert (origin["repo"], origin["commits"]) == ("EleutherAI/lambada_openai", {"test": COMMIT})
    weights = write_base(tmp_path / "base", write_tokenizer(tmp_path / "tokenizer"))
    (tmp_path / "tasks").mkdir()
    spec = {"task_dir": str(tmp_path / "tasks"), "tasks": ["lambada_openai", "hellaswag"]}
    spec |= {"limit": None, "batch_size": 4, "folder": "final"}
    out = tmp_path / "out"
    out.mkdir()
    inputs = {"weights": weights, "benchmarks": folders, "known": tmp_path / "known"}
    evals.build(spec, inputs, out)
    results = pd.read_parquet(out / "results.parquet").set_index(["task", "metric"])
    assert set(results.index) == {
        ("lambada_openai", "perplexity"),
        ("lambada_openai", "acc"),
        ("hellaswag", "acc"),
        ("hellaswag", "acc_norm"),
    }
    assert results.loc[("lambada_openai", "acc")].n_items == 3
    assert results.loc[("hellaswag", "acc")].n_items == 5
    assert results.loc[("hellaswag", "acc")].chance == 0.25


def test_the_folder_holds_the_task_as_lm_eval_has_it(tmp_path: Path, cache: Path) -> None:
    folder = fetched(tmp_path, "hellaswag")
    own = task_file("hellaswag")
    assert own is not None
    assert (folder / "utils.py").read_text() == (own.parent / "utils.py").read_text()
    text = (folder / "hellaswag.yaml").read_text()
    assert "doc_to_text: '{{query}}'" in text
    assert "dataset_path" not in text
    assert pd.read_parquet(folder / "validation.parquet")["ind"].tolist() == [0, 1, 2, 3, 4]


def test_a_group_of_tasks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="lm-eval has no task 'nothing'"):
        fetched(tmp_path, "nothing")
