"""A pretrained default base and the new corpus → a trainee and the batches of the default phase."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tools.artifacts import BENCH, base_of, built, default_plan

from palimpsest.core.course import Trainee
from palimpsest.core.models import load_causal_lm
from palimpsest.core.streams import Stream, make_stream


class Setting(NamedTuple):
    """Weights, the optimiser's settings and the batches of one size without replay."""

    weights: Path
    optimizer: dict
    stream: Stream

    def trainee(self) -> Trainee:
        """Return the base as it was pretrained, its moments fresh."""
        return Trainee(load_causal_lm(self.weights), self.optimizer)


def setting_of(model: str, *, below: Path = BENCH) -> Setting:
    """Return a default size with the batches of the default study's phase."""
    plan = default_plan()
    base = built(base_of(plan, model), below=below)
    label = next(name for name in plan.by_stage["tokens"] if name.startswith("new-"))
    tokens = built(plan.by_stage["tokens"][label], below=below)
    stream = make_stream(
        plan.params.phase["stream"],
        new=np.load(tokens / "train.npy"),
        original=None,
        replay_fraction=0.0,
        seed=0,
    )
    final = json.loads((base / "base.json").read_text("utf-8"))["final"]
    return Setting(base / final, plan.params.optimizer.model_dump(), stream)
