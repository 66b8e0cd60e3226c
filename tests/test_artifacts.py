from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from palimpsest.core import artifacts
from palimpsest.faults import Fault


def write(folder: Path, file: str, content: dict) -> Path:
    folder.mkdir()
    (folder / file).write_text(json.dumps(content))
    return folder


def test_a_base_gives_the_checkpoint_that_is_asked_for(tmp_path: Path) -> None:
    kept = [{"step": step, "folder": f"step-{step}"} for step in (10, 20)]
    base = write(tmp_path / "base", "base.json", {"final": "step-20", "checkpoints": kept})
    assert artifacts.base_checkpoint(base, 10) == (10, base / "step-10")
    assert artifacts.base_checkpoint(base, "final") == (20, base / "step-20")
    with pytest.raises(Fault, match=r"base_step: 15; the base keeps \[10, 20\] and final"):
        artifacts.base_checkpoint(base, 15)


def test_weights_by_name_of_bases_and_phases(tmp_path: Path) -> None:
    base = write(tmp_path / "base", "base.json", {"final": "step-20", "checkpoints": []})
    kept = [{"step": step, "folder": f"step-{step}"} for step in (4, 2)]
    phase = write(tmp_path / "train", "phase.json", {"final": "step-4", "checkpoints": kept})
    assert artifacts.weights(base, "final") == base / "step-20"
    assert artifacts.weights(phase, "final") == phase / "step-4"
    assert artifacts.weights(phase, "step-2") == phase / "step-2"
    assert [one.step for one in artifacts.phase_checkpoints(phase)] == [2, 4]


def test_questions_are_none_where_no_artifact_is_given(tmp_path: Path) -> None:
    row = {"question": "a", "answer": "b", "question_ids": [1, 2], "answer_ids": [3]}
    pd.DataFrame([row]).to_parquet(tmp_path / "questions.parquet")
    (one,) = artifacts.questions(tmp_path)
    assert (one.question_ids, one.answer, one.answer_ids) == ((1, 2), "b", (3,))
    assert artifacts.questions(None) == []
