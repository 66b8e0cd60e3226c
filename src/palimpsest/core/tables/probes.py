"""What probes measured on bases → the landscape and the rates for asked decreases, all sizes.

A study may probe one model in several settings (stream, optimiser, checkpoint of the base). Only
those of its first run are `usual`: laws, answers and figures compare sizes by them alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

KEYS = ["model", "n_params", "seed", "replay_fraction"]
SETTING = ["stream", "base_step", "optimizer", "warm_steps", "usual"]
RATE_COLUMNS = [
    *KEYS,
    *SETTING,
    *("target", "decrease", "median_learning_rate", "q1", "q3", "n_found", "n_batches"),
]


def with_keys(frame: pd.DataFrame, probe: dict[str, Any]) -> pd.DataFrame:
    """Put a probe's model, size, seed, replay ratio and setting in front of its rows."""
    head = {key: probe[key] for key in (*KEYS, *SETTING)}
    return pd.DataFrame(head, index=frame.index).join(frame)


def rates_table(summaries: list[dict[str, Any]]) -> pd.DataFrame:
    """Return medians and quartiles over batches, one row per probe and target.

    summaries: KEYS and SETTING of a probe, and `targets`, `best`, `edge`, `largest_decrease` of its
    probe.json. The largest decrease reached stands in the column `decrease`.
    """
    rows = []
    for summary in summaries:
        head = {key: summary[key] for key in (*KEYS, *SETTING)}
        for decrease, found in summary["targets"].items():
            rows.append(head | _row("decrease", float(decrease), found))
        rows.append(head | _row("best", np.nan, summary["best"]))
        rows.append(head | _row("edge", np.nan, summary["edge"]))
        largest = summary["largest_decrease"]
        empty = {"n_found": largest.get("n_found"), "n_batches": largest.get("n_batches")}
        rows.append(head | _row("largest_decrease", largest["median"], empty))
    table = pd.DataFrame(rows, columns=RATE_COLUMNS)
    return table.sort_values([*KEYS, *SETTING, "target", "decrease"], ignore_index=True)


def _row(target: str, decrease: float | None, found: dict[str, Any]) -> dict[str, Any]:
    return {
        "target": target,
        "decrease": np.nan if decrease is None else decrease,
        "median_learning_rate": found.get("median"),
        **{name: found.get(name) for name in ("q1", "q3", "n_found", "n_batches")},
    }
