"""Which settings no other beats on both learning and forgetting, per size, and the front's knee."""

from __future__ import annotations

import numpy as np
import pandas as pd

from palimpsest.core import pareto
from palimpsest.core.answers.frames import Frames

SETTING = ["model", "n_params", "policy_label", "replay_fraction"]


def fronts(frames: Frames) -> pd.DataFrame:
    """Return the settings of plain runs (means over seeds) with `on_front` and `knee`, per size."""
    runs = frames.plain_runs.dropna(subset=["learning_nats", "forgetting_nats"])
    runs = runs[runs.replay_fraction < 1]  # the control sees no new text
    means = runs.groupby(SETTING, as_index=False)[["learning_nats", "forgetting_nats"]].mean()
    parts = [_marked(ours) for _, ours in means.groupby("n_params")]
    if not parts:
        return means.assign(on_front=False, knee=False)
    return pd.concat(parts).sort_values([*SETTING[1:]], ignore_index=True)


def _marked(settings: pd.DataFrame) -> pd.DataFrame:
    learning, forgetting = settings.learning_nats.to_numpy(), settings.forgetting_nats.to_numpy()
    place = pareto.knee(learning, forgetting)
    return settings.assign(
        on_front=pareto.members(learning, forgetting),
        knee=np.arange(len(settings)) == (-1 if place is None else place),
    )
