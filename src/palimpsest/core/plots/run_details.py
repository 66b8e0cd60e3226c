"""What the page draws of one run when a reader asks for it: numbers only, short enough to embed.

Per run: losses, rate and decrease of each step, the held-out losses and the drift of each layer at
every checkpoint, and the recall matrix. The page's script draws them. Evenly spaced numbers, such
as steps and a kept rate, stand as {from, by, n}.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pandas as pd

from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.plots.curves import original_losses
from palimpsest.core.plots.layers import by_layer
from palimpsest.core.plots.recall_map import change_of_loss

MAX_POINTS = 160
MAX_CELLS = 3000
LEAST_EVEN = 4  # fewer numbers are as short one by one
Packed = list[float | int | None] | dict[str, float | int]


def run_details(frames: Frames) -> dict[str, dict[str, Any]]:
    """Return per run its curves, recall matrix and drift; what was not measured is empty."""
    steps = dict(list(frames.steps.groupby("run")))
    drift = dict(list(by_layer(frames.drift).groupby("run"))) if len(frames.drift) else {}
    recall = dict(list(frames.recall[frames.recall.measured == "checkpoint"].groupby("run")))
    return {
        str(run.run): {
            "steps": _curves(steps.get(run.run)),
            "original": _series(original_losses(frames.held_out, str(run.run))),
            "layers": _layers(drift.get(run.run)),
            "recall": _matrix(recall.get(run.run), frames.pieces, str(run.run)),
        }
        for run in each(frames.runs)
    }


def _curves(steps: pd.DataFrame | None) -> dict[str, Any]:
    if steps is None:
        return {}
    every = -(-len(steps) // MAX_POINTS)
    thin = steps.sort_values("step").iloc[::every]
    names = ("step", "loss_new_nats", "loss_replay_nats", "learning_rate")
    curves: dict[str, Any] = {name: packed(thin[name]) for name in names}
    for name in ("decrease_asked", "decrease_achieved"):
        if thin[name].notna().any():
            curves[f"{name}_percent"] = packed(100 * thin[name])
    return curves | {"every": every}


def _series(values: pd.Series) -> dict[str, list]:
    return {"step": short(values.index.to_numpy()), "loss_nats": short(values)}


def _layers(drift: pd.DataFrame | None) -> dict[str, list]:
    if drift is None:
        return {}
    table = drift.pivot_table(index="checkpoint_step", columns="layer", values="mad")
    return {
        "step": short(table.index.to_numpy()),
        "layer": short(table.columns.to_numpy()),
        "mad": [short(row) for row in table.to_numpy()],
    }


def _matrix(recall: pd.DataFrame | None, pieces: pd.DataFrame, run: str) -> dict[str, Any]:
    """Return checkpoints × pieces; where there are too many pieces, every k-th of them."""
    if recall is None:
        return {}
    matrix = change_of_loss(recall, pieces, run)
    every = max(1, -(-matrix.size // MAX_CELLS))
    thin = matrix.iloc[:, ::every]
    return {
        "step": short(thin.index.to_numpy()),
        "piece": packed(thin.columns.to_numpy()),
        "change_millinats": [short(row) for row in (1000 * thin).round().to_numpy()],
        "every": every,
    }


def packed(values: Iterable[float]) -> Packed:
    """Return short numbers, or {from, by, n} where they are evenly spaced."""
    numbers = short(values)
    gaps = {
        None if low is None or high is None else float(f"{high - low:.9g}")
        for low, high in pairwise(numbers)
    }
    gap = gaps.pop() if len(gaps) == 1 else None
    first = numbers[0] if numbers else None
    if first is None or gap is None or len(numbers) < LEAST_EVEN:
        return numbers
    return {"from": first, "by": gap, "n": len(numbers)}


def short(values: Iterable[float]) -> list[float | int | None]:
    """Return JSON numbers of four significant digits; NaN becomes None."""
    return [_short(float(value)) for value in values]


def _short(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    return int(value) if value == int(value) else float(f"{value:.4g}")
