"""Which settings no other beats on both learning and forgetting, per size, and the front's knee."""

from __future__ import annotations

import numpy as np
import pandas as pd

from palimpsest.core import pareto
from palimpsest.core.answers.frames import Frames
from palimpsest.core.answers.seeds import over_seeds

SETTING = ["model", "n_params", "policy_label", "replay_fraction"]
AXES = ["learning_nats", "forgetting_nats"]
NORMAL_95 = 1.96


def fronts(frames: Frames) -> pd.DataFrame:
    """Return the settings of plain runs (means over seeds) with `on_front` and `knee`, per size."""
    means = _candidates(frames).groupby(SETTING, as_index=False)[AXES].mean()
    parts = [_marked(ours) for _, ours in means.groupby("n_params")]
    if not parts:
        return means.assign(on_front=False, knee=False)
    return pd.concat(parts).sort_values([*SETTING[1:]], ignore_index=True)


def share_of_equal_knees(frames: Frames, n_draws: int = 400) -> float:
    """Return the share of draws in which every size has its knee at the same replay fraction.

    A draw moves each setting's means within their spread over seeds; NaN where nothing was
    repeated, and where some draw of a size has no knee.
    """
    runs = _candidates(frames)
    tables = [over_seeds(runs, axis, by=SETTING) for axis in AXES]
    errors = [((table.high - table.low) / (2 * NORMAL_95)).to_numpy() for table in tables]
    if not all(np.isfinite(error).all() and len(error) for error in errors):
        return float("nan")
    random = np.random.default_rng(0)
    settings, equal = tables[0][SETTING], 0
    for _ in range(n_draws):
        drawn = {
            axis: table["mean"] + error * random.standard_normal(len(table))
            for axis, table, error in zip(AXES, tables, errors, strict=True)
        }
        parts = [_marked(ours) for _, ours in settings.assign(**drawn).groupby("n_params")]
        knees = [part.replay_fraction[part.knee] for part in parts]
        if not all(len(knee) for knee in knees):
            return float("nan")
        equal += len({float(knee.iloc[0]) for knee in knees}) == 1
    return equal / n_draws


def _candidates(frames: Frames) -> pd.DataFrame:
    """Return plain runs with both numbers; the pure-replay control sees no new text."""
    runs = frames.plain_runs.dropna(subset=AXES)
    return runs[runs.replay_fraction < 1]


def _marked(settings: pd.DataFrame) -> pd.DataFrame:
    learning, forgetting = settings.learning_nats.to_numpy(), settings.forgetting_nats.to_numpy()
    place = pareto.knee(learning, forgetting)
    return settings.assign(
        on_front=pareto.members(learning, forgetting),
        knee=np.arange(len(settings)) == (-1 if place is None else place),
    )
