"""What single batches show of learning rates → tidy frames, medians and quartiles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core.policies.step import probe_key

DECADES = tuple(10.0**power for power in range(-10, 0))  # rates at which rounding is measured
LANDSCAPE_COLUMNS = ("batch", "measured_on", "learning_rate", "loss_nats")
RATES_COLUMNS = (
    *("batch", "target", "decrease", "learning_rate", "loss_before_nats", "loss_after_nats"),
    *("next_loss_before_nats", "next_loss_after_nats", "share_rounded_away"),
    *("n_forward", "reason"),
)
TYPES = dict.fromkeys(("batch", "n_forward"), "int64") | dict.fromkeys(
    ("measured_on", "target", "reason"), "str"
)


def rates_frame(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Return one row per batch and target."""
    return _frame([row for record in records for row in record["rates"]], RATES_COLUMNS)


def landscape_frame(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Return one row per batch, what it is measured on, and rate; rate 0 is θ itself."""
    return _frame([row for record in records for row in record["landscape"]], LANDSCAPE_COLUMNS)


def summary(records: list[dict[str, Any]], spec: dict[str, Any]) -> dict[str, Any]:
    """Return the quartiles of rates, largest decrease and slope over batches, and the state.

    spec: decreases, optimizer, warm_steps. `share_rounded_away` is a mean over batches by rate.
    """
    rates = rates_frame(records)
    best = rates[rates.target == "best"]
    asked = rates[rates.target == "decrease"]
    rounded = np.mean([record["share_rounded_away"] for record in records], axis=0)
    return {
        "targets": {
            probe_key(decrease): quartiles(asked[asked.decrease == decrease].learning_rate)
            for decrease in spec["decreases"]
        },
        "best": quartiles(best.learning_rate),
        "edge": quartiles(rates[rates.target == "edge"].learning_rate),
        "largest_decrease": quartiles(best.decrease),
        "slope": quartiles(pd.Series([record["slope"] for record in records])),
        "share_rounded_away": dict(zip(map("{:g}".format, DECADES), rounded, strict=True)),
        "optimizer": spec["optimizer"]["kind"],
        "moments": "warmed" if spec["warm_steps"] else "fresh",
        "warm_steps": spec["warm_steps"],
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


def _frame(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> pd.DataFrame:
    """Return the rows as a frame whose types are the same without any row."""
    made = pd.DataFrame(rows, columns=list(columns))
    return made.astype({column: TYPES.get(column, "float64") for column in columns})
