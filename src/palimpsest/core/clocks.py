"""The training log → the five clocks that forgetting is read against, after every step."""

from __future__ import annotations

import pandas as pd

LAGS = {  # a column of lag.parquet: the clock that it is read on
    "lag_steps": "step",
    "lag_sum_learning_rate": "sum_learning_rate",
    "lag_update_norm": "sum_update_norm",
    "lag_relative_drift": "relative_drift",
    "lag_sum_decrease": "sum_decrease",
}
CLOCKS = tuple(LAGS.values())


def clock_readings(steps: pd.DataFrame) -> pd.DataFrame:
    """Read the five clocks after every step, and at step 0, where all of them stand at 0.

    steps: run, step, learning_rate, update_norm, relative_drift, decrease_achieved. A sum is NaN
    from the first step on at which its term was not measured. Sorted by run and step.
    """
    steps = steps.sort_values(["run", "step"])
    readings = steps[["run", "step", "relative_drift"]].copy()
    runs = steps.run
    for reading, term in [
        ("sum_learning_rate", "learning_rate"),
        ("sum_update_norm", "update_norm"),
        ("sum_decrease", "decrease_achieved"),
    ]:
        missing = steps[term].isna().groupby(runs).cumsum() > 0
        readings[reading] = steps[term].fillna(0.0).groupby(runs).cumsum().mask(missing)
    start = pd.DataFrame({"run": runs.unique(), **dict.fromkeys(readings.columns[1:], 0)})
    return pd.concat([start, readings]).sort_values(["run", "step"], ignore_index=True)
