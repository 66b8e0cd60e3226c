"""Which runs of a study are compared by size, policy and replay alone, in figures and fits."""

from __future__ import annotations

import pandas as pd

WAY = ["stream", "order", "repeats", "epochs", "n_phases"]
SETTING = ["model", "policy_label", "replay_fraction", *WAY]


def plain_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of runs that differ only in size, policy, replay and seed.

    rows: of runs, or of their checkpoints. One phase in time order, in the usual way, from the
    usual checkpoint of the base and at the usual length: other orders, streams, repeats, epochs
    and bases are studies of their own.
    """
    timed = rows[(rows.n_phases == 1) & (rows.order == "time")]
    if timed.empty:
        return timed
    way = _usual_way(timed)
    alike = timed[(timed[WAY] == way).all(axis=1)]
    for name in ("base_step", "n_steps"):
        alike = alike[alike[name] == alike.model.map(_usual(alike, name))]
    return one_per_seed(alike)


def mixed_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the plain runs that see new text: all but the pure-replay control."""
    plain = plain_runs(rows)
    return plain[plain.replay_fraction < 1]


def bare_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mixed runs that differ from the study's defaults in policy and replay alone."""
    mixed = mixed_runs(rows)
    return mixed[is_bare(mixed.policy_label)]


def one_per_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep one run of each setting and seed, the one with the most rows.

    Runs that differ in their checkpoints alone are the same training: the second is no replicate.
    """
    n_rows = rows.groupby("run").run.transform("size")
    ranked = rows.assign(n_rows=n_rows).sort_values(["n_rows", "run"], ascending=[False, True])
    kept = ranked.drop_duplicates([*SETTING, "seed"]).run
    return rows[rows.run.isin(kept)]


def main_policy(rows: pd.DataFrame) -> str:
    """Return the policy run at the most mixed ratios, then most often, then last by name.

    The pure-replay control (ratio 1) does not count. "" where there is no run.
    """
    mixed = rows[rows.replay_fraction < 1]
    if mixed.empty:
        return ""
    by_policy = mixed.groupby("policy_label").replay_fraction.agg(["nunique", "size"])
    return str(by_policy.sort_values(["nunique", "size"]).index[-1])


def is_bare(policy_labels: pd.Series) -> pd.Series:
    """Whether each label is a policy's own: a comma parts it from what else was changed."""
    return ~policy_labels.str.contains(", ", regex=False)


def _usual_way(rows: pd.DataFrame) -> pd.Series:
    """Return the way most runs share that see new text.

    Of ways that equally many share, chunks before other streams, then the fewest repeats, then
    the fewest epochs.
    """
    mixed = rows[rows.replay_fraction < 1]
    runs = one_per_seed(mixed if len(mixed) else rows)
    ways = runs.groupby(WAY).run.nunique().rename("n_runs").reset_index()
    ways = ways.assign(rarity=-ways.n_runs, other_stream=ways.stream != "chunks")
    order = ["rarity", "other_stream", "repeats", "epochs", "stream"]
    return ways.sort_values(order).iloc[0][WAY]


def _usual(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return each model's most frequent value over its runs, of equally frequent ones the last."""
    return rows.drop_duplicates("run").groupby("model")[name].agg(lambda x: x.mode().max())
