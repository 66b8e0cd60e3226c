"""Every entry of every recall matrix of the smoke study, against transformers' own loss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from palimpsest.core.streams import make_stream

pytestmark = pytest.mark.smoke


def batches_of(runs: Path, meta: dict[str, Any]) -> list[torch.Tensor]:
    """Return the tokens of each piece of a run, in the order of the text."""
    train = meta["spec"]["phases"][0]
    new = np.load(runs.joinpath(*meta["inputs"]["new"]) / "train.npy")
    settings = train["phase"]["stream"] | {"order": "time"}
    stream = make_stream(settings, new=new, original=None, replay_fraction=0.0, seed=train["seed"])
    return [torch.tensor(np.stack([row.tokens for row in piece.rows])) for piece in stream.pieces]


def checkpoints_of(runs: Path, meta: dict[str, Any]) -> dict[int, Path]:
    """Return the folder of each measured checkpoint by its step; 0 is the base."""
    base = runs.joinpath(*meta["inputs"]["base"])
    found = {0: base / json.loads((base / "base.json").read_text())["final"]}
    for place in meta["inputs"]["trains"]:
        train = runs.joinpath(*place)
        kept = json.loads((train / "phase.json").read_text())["checkpoints"]
        found |= {one["step"]: train / one["folder"] for one in kept}
    return found


def test_recall_is_the_loss_of_from_pretrained_on_every_batch_and_checkpoint(smoke) -> None:
    runs, n_entries, furthest = smoke.folder / "runs", 0, 0.0
    for file in sorted(runs.glob("recall/*/meta.json")):
        meta = json.loads(file.read_text())
        table = pd.read_parquet(file.parent / "recall.parquet").query("measured == 'checkpoint'")
        ours = table.set_index(["checkpoint_step", "piece"]).loss_nats
        batches = batches_of(runs, meta)
        for step, folder in checkpoints_of(runs, meta).items():
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
            for piece, ids in enumerate(batches):
                with torch.no_grad():
                    theirs = float(model(input_ids=ids, labels=ids).loss)
                furthest = max(furthest, abs(ours[step, piece] - theirs))
                n_entries += 1
        assert len(ours) == len(batches) * len(checkpoints_of(runs, meta))
    assert n_entries > 200
    assert furthest < 1e-5
