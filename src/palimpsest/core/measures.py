"""Losses per piece and checkpoint → signed forgetting, curves against lag, what comes back.

All functions take the rows of many runs at once, told apart by the column `run`.
Signs: F < 0 means better than at the moment of comparison, F > 0 means lost since.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

KEYS = ["run", "piece"]

CLOCKS = {
    "lag_steps": "step",
    "lag_sum_learning_rate": "sum_learning_rate",
    "lag_update_norm": "sum_update_norm",
    "lag_relative_drift": "relative_drift",
    "lag_sum_decrease": "sum_decrease",
}


def signed_forgetting(recall: pd.DataFrame, pieces: pd.DataFrame) -> pd.DataFrame:
    """Compare each piece's loss at the end with just before t₁ and just after t₂.

    recall: run, checkpoint_step, piece, loss_nats, measured; pieces: run, piece, first_step (t₁),
    last_step (t₂). F_before = M[end] − M[t₁−1], F_after = M[end] − M[t₂], nats per token; NaN where
    a loss was not measured. position_rank runs from 0 to 1 in the order of first training.
    """
    table = pieces[[*KEYS, "first_step", "last_step"]].sort_values(KEYS, ignore_index=True)
    order = table.groupby("run").first_step.rank(method="average") - 1
    n_pieces = table.groupby("run").piece.transform("size")
    table.insert(2, "position_rank", order / np.maximum(n_pieces - 1, 1))
    table = _with_loss(table, _earliest_before(recall), "loss_first_before_nats")
    table = _with_loss(table, _latest_after(recall), "loss_last_after_nats")
    table = _with_loss(table, at_last_checkpoint(recall), "loss_end_nats")
    table["F_before"] = table.loss_end_nats - table.loss_first_before_nats
    table["F_after"] = table.loss_end_nats - table.loss_last_after_nats
    return table


def lag_curves(
    recall: pd.DataFrame, forgetting: pd.DataFrame, clocks: pd.DataFrame
) -> pd.DataFrame:
    """Return F(c, b) = M[c,b] − M[t₂,b] for every checkpoint c ≥ t₂(b) and its lag on five clocks.

    forgetting: what `signed_forgetting` returned; clocks: what `clock_readings` returned. A lag is
    the clock's reading at c minus its reading at t₂, NaN where the clock was not measured between.
    """
    seen = forgetting[[*KEYS, "last_step", "loss_last_after_nats"]]
    rows = _checkpoints(recall).merge(seen.dropna(), on=KEYS)
    rows = rows[rows.checkpoint_step >= rows.last_step]
    now = rows[["run", "checkpoint_step"]].rename(columns={"checkpoint_step": "step"})
    then = rows[["run", "last_step"]].rename(columns={"last_step": "step"})
    now, then = (side.merge(clocks, on=["run", "step"], how="left") for side in (now, then))
    lags = {lag: now[clock].to_numpy() - then[clock].to_numpy() for lag, clock in CLOCKS.items()}
    change = rows.loss_nats.to_numpy() - rows.loss_last_after_nats.to_numpy()
    curves = rows[[*KEYS, "checkpoint_step"]].assign(**lags, F=change)
    return curves.sort_values([*KEYS, "checkpoint_step"], ignore_index=True)


def clock_readings(steps: pd.DataFrame) -> pd.DataFrame:
    """Read the five clocks after every step, and at step 0.

    steps: run, step, learning_rate, update_norm, relative_drift, decrease_achieved, in order of
    run and step. A sum is NaN from the first step on at which its term was not measured.
    """
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


def returns(recall: pd.DataFrame) -> pd.DataFrame:
    """Measure what was lost between two passes over a piece, and what came back before the second.

    One row per piece and pair of passes: last_step and loss just after the earlier pass, next_step
    and loss just before the later one, the highest checkpoint loss in between. F_between is before
    minus after; anticipation_nats = peak − before (Yang et al. 2403.09613: a cyclic order lowers
    the loss before the piece comes round); recovery = its share of peak − after, NaN when no
    checkpoint lies between or nothing had been lost.
    """
    after = _passes(recall, "after_last", ["last_step", "loss_after_nats"])
    before = _passes(recall, "before_first", ["next_step", "loss_before_nats"])
    before["visit"] -= 1
    table = after.merge(before, on=[*KEYS, "visit"])
    table["peak_nats"] = _peaks(recall, table)
    table["F_between"] = table.loss_before_nats - table.loss_after_nats
    table["anticipation_nats"] = table.peak_nats - table.loss_before_nats
    lost = table.peak_nats - table.loss_after_nats
    table["recovery"] = (table.anticipation_nats / lost).where(lost > 0)
    return table


def at_last_checkpoint(recall: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows measured at each run's last checkpoint."""
    rows = _checkpoints(recall)
    return rows[rows.checkpoint_step == rows.groupby("run").checkpoint_step.transform("max")]


def _checkpoints(recall: pd.DataFrame) -> pd.DataFrame:
    return recall[recall.measured == "checkpoint"]


def _earliest_before(recall: pd.DataFrame) -> pd.DataFrame:
    rows = recall[recall.measured == "before_first"]
    return rows.sort_values([*KEYS, "checkpoint_step"]).drop_duplicates(KEYS, keep="first")


def _latest_after(recall: pd.DataFrame) -> pd.DataFrame:
    rows = recall[recall.measured == "after_last"]
    return rows.sort_values([*KEYS, "checkpoint_step"]).drop_duplicates(KEYS, keep="last")


def _with_loss(table: pd.DataFrame, rows: pd.DataFrame, name: str) -> pd.DataFrame:
    loss = rows[[*KEYS, "loss_nats"]].rename(columns={"loss_nats": name})
    return table.merge(loss.astype({name: float}), on=KEYS, how="left", validate="one_to_one")


def _passes(recall: pd.DataFrame, moment: str, names: list[str]) -> pd.DataFrame:
    rows = recall[recall.measured == moment].sort_values([*KEYS, "checkpoint_step"])
    rows = rows.assign(visit=rows.groupby(KEYS).cumcount())
    renamed = dict(zip(["checkpoint_step", "loss_nats"], names, strict=True))
    columns = [*KEYS, "visit", "checkpoint_step", "loss_nats"]
    return rows[columns].astype({"loss_nats": float}).rename(columns=renamed)


def _peaks(recall: pd.DataFrame, table: pd.DataFrame) -> pd.Series:
    """Return the highest checkpoint loss between each row's two passes, NaN without one."""
    marked = table[[*KEYS, "last_step", "next_step"]].reset_index()
    rows = _checkpoints(recall).merge(marked, on=KEYS)
    inside = rows[rows.checkpoint_step.between(rows.last_step, rows.next_step)]
    return inside.groupby("index").loss_nats.max().astype(float).reindex(table.index)
