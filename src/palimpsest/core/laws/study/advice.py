"""What the fits advise per size: rate and replay ratio, and what they cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core.laws.form import predict
from palimpsest.core.laws.intervals import interval
from palimpsest.core.laws.study.entry import Entry, Options
from palimpsest.core.laws.study.rates import rate_at
from palimpsest.core.laws.study.replay import at_size, best_of, by_size

Rows = list[dict[str, Any]]
Triple = dict[str, float | None]


def advice(
    runs: pd.DataFrame, critical: Rows, rates: list[Entry], fits: list[Entry], options: Options
) -> Rows:
    """Return one row per size: replay ratio, rate, and what is learnt and forgotten there.

    The ratio is the upper end of the critical one's interval, the safe side; the largest one
    tried where there is no such end.
    """
    rows: Rows = []
    answers = {row["model"]: row for row in critical}
    for model, group in by_size(runs):
        n_params = float(group.n_params.iloc[0])
        answer, largest = answers[model], float(group.replay_fraction.max())
        decrease = float(group.decrease_asked.iloc[0])
        ratio = answer.get("high", largest)
        ratio = largest if ratio is None else ratio
        row: dict[str, Any] = {"model": model, "n_params": int(n_params), "decrease": decrease}
        row |= {"replay": answer["answer"], "replay_fraction": ratio}
        row |= {"learning_rate": rate_triple(rates, n_params, decrease, options)}
        row |= {"measured_learning_rate": float(group.learning_rate.median())}
        for what in ("forgetting", "learning"):
            entry = entry_for(fits, what, model)
            row[f"{what}_fit"] = entry.name if entry else None
            row[f"{what}_nats"] = value_at(entry, n_params, ratio, options)
            row[f"{what}_without_replay_nats"] = value_at(entry, n_params, 0.0, options)
        rows.append(row | {"runs": sorted(group.run)})
    return rows


def entry_for(fits: list[Entry], what: str, model: str) -> Entry | None:
    """Return the best fit of a size alone, else of all sizes together."""
    named = [entry for entry in fits if entry.name.startswith(f"{what}/")]
    own = best_of([entry for entry in named if entry.record["group"].get("model") == model])
    return own or best_of([entry for entry in named if not entry.record["group"]])


def rate_triple(
    rates: list[Entry], n_params: float, decrease: float, options: Options
) -> Triple | None:
    """Return the fitted rate for the asked decrease without replay, None without such a fit."""
    usable = [entry for entry in rates if entry.usable and entry.name == "rate/decrease/r=0"]
    if not usable or not np.isfinite(decrease):
        return None
    value, draws = rate_at(usable[0], n_params, decrease)
    low, high = interval(draws, confidence=options.confidence)
    return {"value": value, "low": float(low), "high": float(high)}


def value_at(entry: Entry | None, n_params: float, ratio: float, options: Options) -> Triple | None:
    """Return a fit's value at a size and ratio with its interval."""
    if entry is None:
        return None
    x = at_size(entry.fit.law, np.array([ratio]), n_params)
    low, high = interval(
        predict(entry.fit.law, entry.draws.theta, x)[:, 0], confidence=options.confidence
    )
    return {"value": float(entry.fit.at(x)[0]), "low": float(low), "high": float(high)}
