"""The table of all runs as the page shows it: text for eyes, values for sorting, a sparkline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import count, nats, percent, rate

HEADER = (  # text, what it means
    ("run", "name of the run"),
    ("size", "base model, sorted by parameters without embeddings"),
    ("policy", "how the learning rate was chosen"),
    ("rate", "median learning rate over the steps"),
    ("replay", "share of training tokens from the original data"),
    ("learning", "fall of the loss on unseen new text, nats per token"),
    ("forgetting", "rise of the loss on unseen original text, nats per token"),
    ("vs control", "forgetting minus that of the replay-only control, nats per token"),
    ("order", "order of the new data"),
    ("repeats", "updates on a batch before moving on"),
    ("seed", "seed of replay draw, offset and pretraining"),
    ("steps", "optimiser updates"),
    ("new tokens", "training tokens from the new text"),
    ("drift", "mean absolute change of a weight"),
    ("stopped by", "the rule that ended the run"),
    ("loss", "training loss over the steps"),
)
SPARK_POINTS = 32
SPARK_WIDTH, SPARK_HEIGHT = 72, 18


@dataclass(frozen=True)
class Cell:
    """One cell: what is read, and what is sorted by."""

    text: str
    sort: str


def run_rows(frames: Frames) -> list[tuple[list[Cell], str]]:
    """Return per run its cells in the order of HEADER (without the sparkline) and its sparkline."""
    steps = dict(list(frames.steps.groupby("run")))
    ordered = frames.runs.sort_values(
        ["n_params", "policy_label", "replay_fraction", "seed", "run"]
    )
    return [(_cells(run), sparkline(steps.get(run.run))) for run in each(ordered)]


def sparkline(steps: pd.DataFrame | None) -> str:
    """Return the points of a polyline: the loss trained on, averaged to at most 32 points."""
    if steps is None:
        return ""
    losses = steps.loss_new_nats.fillna(steps.loss_replay_nats).dropna().to_numpy()
    if len(losses) < 2:
        return ""
    parts = np.array_split(losses, min(SPARK_POINTS, len(losses)))
    values = np.array([part.mean() for part in parts])
    span = float(np.ptp(values)) or 1.0
    x = np.linspace(1, SPARK_WIDTH - 1, len(values))
    y = 1 + (SPARK_HEIGHT - 2) * (values.max() - values) / span
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _cells(run: Any) -> list[Cell]:
    return [
        _text(run.run),
        Cell(str(run.model), _key(run.n_params)),
        _text(run.policy_label),
        Cell(rate(run.learning_rate), _key(run.learning_rate)),
        Cell(percent(run.replay_fraction), _key(run.replay_fraction)),
        _signed(run.learning_nats),
        _signed(run.forgetting_nats),
        _signed(run.forgetting_against_control_nats),
        _text(run.order),
        Cell(str(run.repeats), _key(run.repeats)),
        Cell(str(run.seed), _key(run.seed)),
        Cell(str(run.n_steps), _key(run.n_steps)),
        Cell(count(run.n_new_tokens), _key(run.n_new_tokens)),
        Cell(rate(run.mad_drift), _key(run.mad_drift)),
        _text(run.stop_reason),
    ]


def _signed(value_nats: float) -> Cell:
    return Cell(nats(value_nats, signed=True), _key(value_nats))


def _text(value: object) -> Cell:
    return Cell(str(value), str(value))


def _key(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.6g}"
