"""The few numbers that are compared between versions of a study, and the curve that goes with them."""

from __future__ import annotations

import math

import pandas as pd

from palimpsest.core.answers.answer import Answer
from palimpsest.core.answers.frames import Frames
from palimpsest.core.answers.recommend import Recommendation

CURVE_COLUMNS = ["model", "n_params", "replay_fraction", "seed", "policy_label"]


def metrics(frames: Frames, answers: list[Answer], advice: list[Recommendation]) -> dict:
    """Return the headline numbers: one level of nesting, no value that is not a number or word."""
    runs = frames.plain_runs()
    runs = runs[runs.policy_label == frames.main_policy()]
    return {
        "n_runs": len(frames.runs),
        "n_questions_decided": sum(answer.verdict in ("yes", "no") for answer in answers),
        "n_laws_fitted": sum(fit.get("status") == "fitted" for fit in frames.fits.get("fits", [])),
        "forgetting_nats": _means(runs, "forgetting_nats"),
        "learning_nats": _means(runs, "learning_nats"),
        "recommended_replay_fraction": {one.model: one.replay_fraction for one in advice},
        "recommended_learning_rate": {one.model: _rounded(one.learning_rate) for one in advice},
        "recommended_forgetting_nats": {one.model: _rounded(one.forgetting_nats) for one in advice},
    }


def forgetting_curve(frames: Frames) -> pd.DataFrame:
    """Return forgetting and learning of the plain runs, for `dvc plots`."""
    columns = [*CURVE_COLUMNS, "forgetting_nats", "learning_nats"]
    return frames.plain_runs()[columns].sort_values(CURVE_COLUMNS, ignore_index=True)


def _means(runs: pd.DataFrame, column: str) -> dict[str, float]:
    means = runs.groupby("replay_fraction")[column].mean()
    return {f"replay_{replay:g}": _rounded(mean) for replay, mean in means.items()}


def _rounded(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
