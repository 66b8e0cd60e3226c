"""Losses per piece and checkpoint → signed forgetting, curves against lag, visits, neighbours.

All functions take the rows of many runs at once, told apart by the column `run`.
Signs: F < 0 means better than at the moment of comparison, F > 0 means lost since.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from palimpsest.core.clocks import LAGS

KEYS = ["run", "piece"]


def with_decreases(steps: pd.DataFrame, recall: pd.DataFrame) -> pd.DataFrame:
    """Fill in the one-step decreases that the policy did not measure but the recall did.

    Where a step's new data are one piece, whose loss was taken just before and just after it by
    the same code, the share by which that fell is what a search would have measured.
    """
    live = recall[recall.measured != "checkpoint"]
    before = live[live.measured != "after_last"].assign(step=lambda rows: rows.checkpoint_step + 1)
    after = live[live.measured != "before_first"].assign(step=live.checkpoint_step)
    both = before.merge(after, on=[*KEYS, "step", "n_tokens"], suffixes=("_before", "_after"))
    losses = both.loss_nats_before.astype(float), both.loss_nats_after.astype(float)
    seen = both.assign(decrease=1 - losses[1] / losses[0]).astype({"run": steps.run.dtype})
    n_new = steps.groupby("run", observed=True).n_new_tokens.diff().fillna(steps.n_new_tokens)
    rows = steps[["run", "step"]].assign(n_tokens=n_new.astype(int))
    found = rows.merge(seen.drop_duplicates(["run", "step", "n_tokens"]), how="left")
    filled = steps.decrease_achieved.fillna(pd.Series(found.decrease.to_numpy(), steps.index))
    return steps.assign(decrease_achieved=filled)


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
    lags = {lag: now[clock].to_numpy() - then[clock].to_numpy() for lag, clock in LAGS.items()}
    change = rows.loss_nats.to_numpy() - rows.loss_last_after_nats.to_numpy()
    curves = rows[[*KEYS, "checkpoint_step"]].assign(**lags, F=change)
    return curves.sort_values([*KEYS, "checkpoint_step"], ignore_index=True)


def visits_table(recall: pd.DataFrame) -> pd.DataFrame:
    """Compare each visit to a piece (an epoch's, or a round's of a cyclic order) with what follows.

    first_step, last_step and the losses just before and after; F_before and F_after against the
    run's end. Against the next visit, NaN without one: next_step and F_between = loss just before
    it minus loss after this one; peak_nats, the highest checkpoint loss in between;
    anticipation_nats = peak − just before (Yang et al. 2403.09613: a cyclic order lowers the loss
    before the piece comes round); recovery = its share of peak − after, NaN if nothing was lost.
    """
    table = _visits(recall)
    end = at_last_checkpoint(recall).set_index(KEYS).loss_nats.astype(float)
    ends = end.reindex(pd.MultiIndex.from_frame(table[KEYS])).to_numpy()
    table["F_before"] = ends - table.loss_before_nats
    table["F_after"] = ends - table.loss_after_nats
    following = table.groupby(KEYS, observed=True)[["first_step", "loss_before_nats"]].shift(-1)
    table["next_step"] = following.first_step - 1
    table["peak_nats"] = _peaks(recall, table)
    table["F_between"] = following.loss_before_nats - table.loss_after_nats
    table["anticipation_nats"] = table.peak_nats - following.loss_before_nats
    lost = table.peak_nats - table.loss_after_nats
    table["recovery"] = (table.anticipation_nats / lost).where(lost > 0)
    return table


def repeats_table(recall: pd.DataFrame) -> pd.DataFrame:
    """Compare the loss of a piece around each of its updates with the run's end.

    One row per run, piece and update on it: visit (from 0), repeat (within the visit, from 1),
    n_seen (over all visits, from 1), step, the losses just before and after it, and F_after = the
    end − just after, nats per token: what of all gained until then is lost (> 0) or grew (< 0).
    """
    live = recall[recall.measured != "checkpoint"]
    starts = (live.measured == "before_first").rename("starts")
    rows = live.assign(starts=starts).sort_values([*KEYS, "checkpoint_step", "starts"])
    of_piece = rows.groupby(KEYS, observed=True)
    rows["visit"] = of_piece.starts.cumsum() - 1
    rows["loss_before_nats"] = of_piece.loss_nats.shift(1).astype(float)
    rows = rows[~rows.starts]
    rows["repeat"] = rows.groupby([*KEYS, "visit"], observed=True).cumcount() + 1
    rows["n_seen"] = rows.groupby(KEYS, observed=True).cumcount() + 1
    end = at_last_checkpoint(recall).set_index(KEYS).loss_nats.astype(float)
    rows["loss_after_nats"] = rows.loss_nats.astype(float)
    ends = end.reindex(pd.MultiIndex.from_frame(rows[KEYS])).to_numpy()
    rows["F_after"] = ends - rows.loss_after_nats
    columns = ["visit", "repeat", "n_seen", "step", "loss_before_nats", "loss_after_nats"]
    renamed = rows.rename(columns={"checkpoint_step": "step"})
    return renamed[[*KEYS, *columns, "F_after"]].reset_index(drop=True)


def shift_map(recall: pd.DataFrame) -> pd.DataFrame:
    """Average the change of loss since θ₀ over all pieces equally far from the one in training.

    One row per run, round and shift: how many pieces ago in this round a piece was trained on
    (negative: how many until it is). A row of the heat map is a round of training.
    """
    visits = _visits(recall)
    order = visits.groupby(["run", "visit"], observed=True).first_step
    visits["place"] = order.rank(method="first").astype(int) - 1
    rows = _checkpoints(recall)[[*KEYS, "checkpoint_step", "loss_nats"]]
    base = rows[rows.checkpoint_step == 0][[*KEYS, "loss_nats"]]
    rows = rows.merge(base, on=KEYS, suffixes=("", "_base"))
    now = pd.merge_asof(
        rows[["run", "checkpoint_step"]].drop_duplicates().sort_values("checkpoint_step"),
        visits[["run", "first_step", "visit", "place"]].sort_values("first_step"),
        by="run",
        left_on="checkpoint_step",
        right_on="first_step",
    )
    now = now.dropna(subset=["visit"])[["run", "checkpoint_step", "visit", "place"]]
    rows = rows.merge(now.rename(columns={"place": "now"}), on=["run", "checkpoint_step"])
    rows = rows.merge(visits[[*KEYS, "visit", "place"]], on=[*KEYS, "visit"])
    rows = rows.assign(
        round=rows.visit.astype(int),
        shift=(rows.now - rows.place).astype(int),
        change_nats=rows.loss_nats.astype(float) - rows.loss_nats_base.astype(float),
    )
    grouped = rows.groupby(["run", "round", "shift"], observed=True).change_nats
    return grouped.agg(change_nats="mean", n_pairs="size").reset_index()


def neighbours(recall: pd.DataFrame) -> pd.DataFrame:
    """Measure what training on pieces does to the pieces beside them, which it leaves out.

    One row per run, `again` (whether all pieces trained on had been before) and distance to the
    nearest of these in the order of the text: the mean change of loss from one checkpoint to the
    next, and excess_nats, what is left of it less the mean over all pieces left out.
    """
    visits, parts = _visits(recall), []
    for run, rows in _checkpoints(recall).groupby("run", observed=True):
        matrix = rows.pivot(index="checkpoint_step", columns="piece", values="loss_nats")
        of_run = visits[visits.run == run]
        for before, after in itertools.pairwise(matrix.index):
            trained = of_run[(of_run.first_step <= after) & (of_run.last_step > before)]
            if len(trained):
                change = matrix.loc[after].astype(float) - matrix.loc[before].astype(float)
                parts.append(_beside(change, trained).assign(run=run))
    columns = ["run", "again", "distance"]
    if not parts:
        return pd.DataFrame(columns=[*columns, "change_nats", "excess_nats", "n_pairs"])
    grouped = pd.concat(parts).groupby(columns)
    means = grouped[["change_nats", "excess_nats"]].mean()
    return means.assign(n_pairs=grouped.size()).reset_index()


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


def _visits(recall: pd.DataFrame) -> pd.DataFrame:
    """Return each visit's first and last step and the losses around it, counted from 0."""
    before = _passes(recall, "before_first", ["first_step", "loss_before_nats"])
    before["first_step"] += 1
    after = _passes(recall, "after_last", ["last_step", "loss_after_nats"])
    return before.merge(after, on=[*KEYS, "visit"], how="left")


def _beside(change: pd.Series, trained: pd.DataFrame) -> pd.DataFrame:
    """Return the changes of the pieces that were not trained on, by distance to those that were."""
    pieces = change.index.to_numpy()
    distance = np.abs(pieces[:, None] - trained.piece.to_numpy()[None]).min(1)
    left_out = change.to_numpy()[distance > 0]
    again = bool((trained.visit > 0).all())
    values = {"distance": distance[distance > 0], "change_nats": left_out, "again": again}
    mean = left_out.mean() if len(left_out) else np.nan
    return pd.DataFrame(values).assign(excess_nats=left_out - mean)


def _peaks(recall: pd.DataFrame, table: pd.DataFrame) -> pd.Series:
    """Return the highest checkpoint loss between each row's two passes, NaN without one."""
    marked = table[[*KEYS, "last_step", "next_step"]].reset_index()
    rows = _checkpoints(recall).merge(marked, on=KEYS)
    inside = rows[rows.checkpoint_step.between(rows.last_step, rows.next_step)]
    peaks = inside.groupby("index").loss_nats.max().astype(float)
    return peaks.reindex(table.index)
