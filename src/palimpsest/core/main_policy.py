"""Which of a study's policies the fits over replay and the page speak of first."""

from __future__ import annotations

import pandas as pd


def main_policy(runs: pd.DataFrame) -> str:
    """Return the policy run at the most mixed ratios, then most often, then last by name.

    The pure-replay control (ratio 1) does not count. "" where there is no run.
    """
    mixed = runs[runs.replay_fraction < 1]
    if mixed.empty:
        return ""
    by_policy = mixed.groupby("policy_label").replay_fraction.agg(["nunique", "size"])
    return str(by_policy.sort_values(["nunique", "size"]).index[-1])
