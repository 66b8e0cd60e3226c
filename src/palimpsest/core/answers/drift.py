"""Question 7: does drift of the weights, or of the predictions, go with forgetting?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from palimpsest.core.answers.answer import Answer, Question, all_of, decide
from palimpsest.core.answers.frames import Frames
from palimpsest.core.answers.numbers import between, plain
from palimpsest.core.answers.settings import SETTING
from palimpsest.core.seeds import combined, rank_correlation

PREDICTS = Question(
    7,
    words="Does drift (MAD), or KL, predict collapse, with and without replay?",
    asked="Among the settings of one size, does more drift of the weights go with more forgetting, "
    "with replay and without it?",
    rule="Spearman's ρ between mean absolute drift and forgetting over the settings of each size "
    "(means over seeds), once without replay and once with it; the replay-only control is left "
    "out. Sizes with five settings or more are joined on Fisher's scale, each by its precision "
    "(Bonett and Wright's error). Yes when both 95 % intervals lie above 0.5, no when one lies "
    "below; not decidable where no size has five settings.",
    lines="""\
drift:
  model: {sizes}
  seed: [0, 1]
  replay_fraction: [0.0, 0.5]
  policy:
    kind: fixed
    learning_rate: [1.0e-4, 2.0e-4, 5.0e-4, 1.0e-3, 2.0e-3, 5.0e-3, 1.0e-2]
""",
    figures=("drift", "layers"),
)
STRONG_RHO = 0.5
MEASURES = {"mad_drift": "weights (MAD)", "kl_original_nats": "predictions (KL)"}
CELL = ["n_params", *SETTING]


def predicts(frames: Frames) -> Answer:
    """Answer question 7 from final drift and forgetting of each size's settings."""
    sides = _sides(frames.runs)
    if min(len(side) for side in sides.values()) == 0:
        return PREDICTS.not_run("runs both with and without replay", frames)
    found = {
        (words, column): _joined(side, column)
        for words, side in sides.items()
        for column in MEASURES
    }
    drifts = [found[words, "mad_drift"] for words in sides]
    verdicts = [
        decide(low, high, yes_above=STRONG_RHO, no_below=STRONG_RHO) for _, low, high in drifts
    ]
    counts = {words: side.groupby("n_params").size() for words, side in sides.items()}
    return PREDICTS.answered(
        all_of(verdicts),
        sentence="Settings per size: "
        + "; ".join(f"{', '.join(map(str, n))} {words}" for words, n in counts.items())
        + ". ρ is the rank correlation of drift and forgetting within sizes.",
        value="; ".join(
            f"{side}: {_rho_words(rho)}" for side, (rho, _, _) in zip(sides, drifts, strict=True)
        ),
        interval="; ".join(between(low, high, decimals=2) for _, low, high in drifts),
        header=("settings", "measure", "Spearman's ρ within sizes", "interval"),
        rows=tuple(
            (words, MEASURES[column], plain(rho), between(low, high, decimals=2))
            for (words, column), (rho, low, high) in found.items()
        ),
    )


def _sides(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the settings without replay and with it, means over seeds."""
    known = runs.dropna(subset=["mad_drift", "forgetting_nats"])
    means = known.groupby(CELL, as_index=False)[[*MEASURES, "forgetting_nats"]].mean()
    return {
        "without replay": means[means.replay_fraction == 0],
        "with replay": means[(means.replay_fraction > 0) & (means.replay_fraction < 1)],
    }


def _rho_words(rho: float) -> str:
    return "no size has five settings that differ" if np.isnan(rho) else f"ρ = {plain(rho)}"


def _joined(settings: pd.DataFrame, column: str) -> tuple[float, float, float]:
    """Return ρ of a measure with forgetting within sizes, joined over sizes, and its interval."""
    by_size = settings.dropna(subset=[column]).groupby("n_params")
    return combined([rank_correlation(ours[column], ours.forgetting_nats) for _, ours in by_size])
