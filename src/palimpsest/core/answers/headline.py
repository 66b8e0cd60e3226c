"""The few numbers that versions of a study are compared by, and the curve to go with them."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from palimpsest.core.answers.answer import Answer
from palimpsest.core.answers.fitted import parameter
from palimpsest.core.answers.frames import Frames
from palimpsest.core.answers.rates import RATE_FIT
from palimpsest.core.answers.recommend import Recommendation

CURVE_COLUMNS = ["model", "n_params", "replay_fraction", "seed", "policy_label"]


def metrics(frames: Frames, answers: list[Answer], advice: list[Recommendation]) -> dict[str, Any]:
    """Return the headline numbers, at most one level deep; what does not exist is left out."""
    runs = frames.plain_runs
    runs = runs[(runs.policy_label == frames.main_policy) & (runs.replay_fraction < 1)]
    none, most = (runs[runs.replay_fraction == r] for r in _ends(runs.replay_fraction))
    kappa = parameter(frames.fits, RATE_FIT, "kappa")
    found = {
        "n_runs": len(frames.runs),
        "n_questions_decided": sum(answer.verdict in ("yes", "no") for answer in answers),
        "n_laws_fitted": sum(r["status"] == "fitted" for r in frames.fits["fits"].values()),
        "forgetting_least_replay_nats": none.forgetting_nats.mean(),
        "forgetting_most_replay_nats": most.forgetting_nats.mean(),
        "learning_least_replay_nats": none.learning_nats.mean(),
        "learning_most_replay_nats": most.learning_nats.mean(),
        "rate_exponent_of_size": kappa.value if kappa else math.nan,
        "largest_order_memory": frames.memory.order_memory.abs().max(),
    }
    whole = {name: _rounded(value) for name, value in found.items() if math.isfinite(value)}
    return whole | {"recommended_replay": {one.model: one.replay_fraction for one in advice}}


def forgetting_curve(frames: Frames) -> pd.DataFrame:
    """Return forgetting and learning of the plain runs, for `dvc plots`."""
    columns = [*CURVE_COLUMNS, "forgetting_nats", "learning_nats"]
    return frames.plain_runs[columns].sort_values(CURVE_COLUMNS, ignore_index=True)


def _ends(replay: pd.Series) -> tuple[float, float]:
    return float(replay.min()), float(replay.max())


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.6g}")
