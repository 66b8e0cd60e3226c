"""An artifact's folder → what the stages after it read there: weights, token files, questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from palimpsest.core.greedy import Question
from palimpsest.faults import Fault


class Checkpoint(NamedTuple):
    """Kept weights: after how many updates, and where."""

    step: int
    folder: Path


def base_checkpoint(base: Path, step: int | str) -> Checkpoint:
    """Return a base's checkpoint after `step` updates of its pretraining, or its "final" one."""
    listed = json.loads((base / "base.json").read_text("utf-8"))
    folders = {checkpoint["step"]: checkpoint["folder"] for checkpoint in listed["checkpoints"]}
    if step == "final":
        step = next(number for number, name in folders.items() if name == listed["final"])
    if step not in folders:
        raise Fault(f"base_step: {step}; the base keeps {sorted(folders)} and final")
    return Checkpoint(int(step), base / folders[step])


def phase_checkpoints(train: Path) -> list[Checkpoint]:
    """Return the checkpoints that one epoch of training kept, in order."""
    phase = json.loads((train / "phase.json").read_text("utf-8"))
    kept = [Checkpoint(one["step"], train / one["folder"]) for one in phase["checkpoints"]]
    return sorted(kept)


def weights(artifact: Path, name: str) -> Path:
    """Return the folder of that name in a base or train artifact, or of its "final" weights."""
    if name != "final":
        return artifact / name
    listed = "base.json" if (artifact / "base.json").is_file() else "phase.json"
    return artifact / json.loads((artifact / listed).read_text("utf-8"))["final"]


def training_tokens(tokens: Path) -> NDArray[np.integer]:
    """Return a corpus's training tokens, mapped to memory."""
    mapped: NDArray[np.integer] = np.load(tokens / "train.npy", mmap_mode="r")
    return mapped


def held_out_tokens(tokens: Path) -> tuple[NDArray[np.integer], pd.DataFrame]:
    """Return a corpus's held-out tokens, mapped to memory, and its documents."""
    documents = pd.read_parquet(tokens / "held_out_documents.parquet")
    return np.load(tokens / "held_out.npy", mmap_mode="r"), documents


def questions(artifact: Path | None) -> list[Question]:
    """Return the tokenised questions; none where a stage was given no artifact of them."""
    if artifact is None:
        return []
    table = pd.read_parquet(artifact / "questions.parquet")
    columns = zip(table.question_ids, table.answer, table.answer_ids, strict=True)
    return [
        Question(tuple(map(int, question_ids)), answer, tuple(map(int, answer_ids)))
        for question_ids, answer, answer_ids in columns
    ]
