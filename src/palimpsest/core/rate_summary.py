"""What single batches show of learning rates → tidy frames, medians and quartiles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core.policies.step import probe_key

LANDSCAPE_COLUMNS = ("batch", "measured_on", "learning_rate", "loss_nats")
RATES_COLUMNS = (
    *("batch", "target", "decrease", "learning_rate", "loss_before_nats", "loss_after_nats"),
    *("next_loss_before_nats", "next_loss_after_nats", "n_forward", "reason"),
)
TYPES = dict.fromkeys(("batch", "n_forward"), "int64") | dict.fromkeys(
    ("measured_on", "target", "reason"), "str"
)


def frame(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> pd.DataFrame:
    """Return the rows as a frame whose types are the same without any row."""
    made = pd.DataFrame(rows, columns=list(columns))
    return made.astype({column: TYPES.get(column, "float64") for column in columns})


def summary(rates: pd.DataFrame, *, decreases: list[float]) -> dict[str, Any]:
    """Return the quartiles of the rates for each decrease, of best, edge and largest decrease."""
    best = rates[rates.target == "best"]
    asked = rates[rates.target == "decrease"]
    return {
        "targets": {
            probe_key(decrease): quartiles(asked[asked.decrease == decrease].learning_rate)
            for decrease in decreases
        },
        "best": quartiles(best.learning_rate),
        "edge": quartiles(rates[rates.target == "edge"].learning_rate),
        "largest_decrease": quartiles(best.decrease),
    }


def quartiles(found: pd.Series) -> dict[str, float | int | None]:
    """Return median and quartiles over batches; a batch without a value counts as infinite.

    So a quantile is null where it falls on such a batch: no median means that at least half of
    the batches have no such rate.
    """
    ordered = np.sort(found.fillna(math.inf).to_numpy())
    counts = {"n_found": int(np.isfinite(ordered).sum()), "n_batches": len(ordered)}
    names = {"q1": 0.25, "median": 0.5, "q3": 0.75}
    return {name: _quantile(ordered, share) for name, share in names.items()} | counts


def _quantile(ordered: np.ndarray, share: float) -> float | None:
    """Return the linear quantile; null beside an infinite value."""
    place = share * (len(ordered) - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return float(low + (place - math.floor(place)) * (high - low)) if math.isfinite(high) else None
