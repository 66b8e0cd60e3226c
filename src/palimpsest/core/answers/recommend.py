"""The opening answer: which rate and replay ratio to take for each size, its cost, how sure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from palimpsest.core.answers.fitted import critical_words
from palimpsest.core.answers.frames import Frames
from palimpsest.core.answers.seeds import over_seeds

RULE = (
    "Among the settings that were run once over the new text with some of it in every batch, the "
    "one that learns most while the upper 95 % bound of its forgetting is within tolerance; if "
    "none is, the one that learns most while its mean is; if none is, the one that forgets least."
)
Tier = Literal["sure", "likely", "none"]
SETTING = ["model", "n_params", "policy_label", "replay_fraction"]


@dataclass(frozen=True)
class Recommendation:
    """What to take for one size; losses in nats per token, costs against the study's best."""

    model: str
    n_params: int
    policy_label: str
    learning_rate: float
    replay_fraction: float
    forgetting_nats: float
    low: float
    high: float
    learning_nats: float
    learning_lost_nats: float
    tokens_factor: float
    n_seeds: int
    n_settings: int
    tier: Tier
    sureness: str
    fitted_ratio: str


def recommend(frames: Frames) -> list[Recommendation]:
    """Recommend a setting for every size that has runs, smallest first."""
    runs = frames.plain_runs
    runs = runs[runs.replay_fraction < 1].dropna(subset=["forgetting_nats", "learning_nats"])
    cells = over_seeds(runs, "forgetting_nats", by=SETTING)
    means = runs.groupby(SETTING)[["learning_nats", "learning_rate"]].mean().reset_index()
    cells = cells.merge(means, on=SETTING)
    return [
        _of_size(cells[cells.model == model], frames, model)
        for model in frames.sizes
        if (cells.model == model).any()
    ]


def _of_size(cells: pd.DataFrame, frames: Frames, model: str) -> Recommendation:
    chosen, tier, sureness = _choose(cells, frames.tolerance_nats)
    return Recommendation(
        model=model,
        n_params=int(chosen.n_params),
        policy_label=str(chosen.policy_label),
        learning_rate=float(chosen.learning_rate),
        replay_fraction=float(chosen.replay_fraction),
        forgetting_nats=float(chosen["mean"]),
        low=float(chosen.low),
        high=float(chosen.high),
        learning_nats=float(chosen.learning_nats),
        learning_lost_nats=float(cells.learning_nats.max() - chosen.learning_nats),
        tokens_factor=1 / (1 - float(chosen.replay_fraction)),
        n_seeds=int(chosen.n_seeds),
        n_settings=len(cells),
        tier=tier,
        sureness=sureness,
        fitted_ratio=critical_words(frames.fits, model),
    )


def _choose(cells: pd.DataFrame, tolerance: float) -> tuple[pd.Series, Tier, str]:
    sure, likely = cells[cells.high <= tolerance], cells[cells["mean"] <= tolerance]
    if len(sure):
        return _best(sure.learning_nats, sure), "sure", "the whole interval is within tolerance"
    if len(likely):
        chosen = _best(likely.learning_nats, likely)
        known = np.isfinite(chosen.high)
        words = "its interval reaches beyond" if known else "no setting was repeated: no interval"
        return chosen, "likely", f"the mean is within tolerance, {words}"
    words = "no tested setting is within tolerance; this one forgets least"
    return _best(-cells["mean"], cells), "none", words


def _best(score: pd.Series, cells: pd.DataFrame) -> pd.Series:
    return cells.iloc[int(score.to_numpy().argmax())]
