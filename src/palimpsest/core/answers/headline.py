"""The few numbers that versions of a study are compared by, and the curve to go with them."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from palimpsest.core.answers.answer import Answer
from palimpsest.core.answers.fitted import parameter
from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.rates import RATE_FIT
from palimpsest.core.answers.recommend import Recommendation

CURVE_COLUMNS = ["model", "n_params", "replay_fraction", "seed", "policy_label"]


def metrics(frames: Frames, answers: list[Answer], advice: list[Recommendation]) -> dict[str, Any]:
    """Return the headline numbers; what does not exist is left out.

    Losses are signed, in nats per token, per size: means over seeds of the main policy without
    replay and at its largest ratio. A replay ratio is recommended where the runs decide it.
    """
    kappa = parameter(frames.fits, RATE_FIT, "kappa")
    runs = frames.plain_runs
    runs = runs[(runs.policy_label == frames.main_policy) & (runs.replay_fraction < 1)]
    most = float(runs.replay_fraction.max()) if len(runs) else math.nan
    found: dict[str, Any] = {
        "n_runs": len(frames.runs),
        "n_questions_decided": sum(answer.verdict in ("yes", "no") for answer in answers),
        "rate_exponent_of_size": _rounded(kappa.value if kappa else math.nan),
        "largest_replay_fraction": _rounded(most),
        "recommended_replay_fraction": {
            one.model: one.setting.replay_fraction
            for one in advice
            if one.answer == "yes" and one.setting is not None
        },
        "order_memory_rho": _order_memory(frames),
    }
    for what in ("forgetting", "learning"):
        for words, ratio in (("without_replay", 0.0), ("at_largest_replay", most)):
            ours = runs[runs.replay_fraction == ratio].groupby("model")[f"{what}_nats"].mean()
            found[f"{what}_{words}_nats"] = {str(m): _rounded(v) for m, v in ours.items()}
    return {name: value for name, value in found.items() if value not in (None, {})}


def forgetting_curve(frames: Frames) -> pd.DataFrame:
    """Return forgetting and learning of the plain runs, for `dvc plots`."""
    columns = [*CURVE_COLUMNS, "forgetting_nats", "learning_nats"]
    return frames.plain_runs[columns].sort_values(CURVE_COLUMNS, ignore_index=True)


def _order_memory(frames: Frames) -> dict[str, float | None]:
    """Return ρ of each run with a shuffled control, signed: below zero early pieces are lost."""
    rows = frames.memory_runs.dropna(subset=["order_memory"])
    return {
        f"{row.model}, {row.policy_label}, {row.repeats} repeats, seed {row.seed}": _rounded(
            row.order_memory
        )
        for row in each(rows)
    }


def _rounded(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
