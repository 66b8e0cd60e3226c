"""Which of a study's policies are spoken of first, and which labels name a policy alone."""

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


def is_bare(policy_labels: pd.Series) -> pd.Series:
    """Whether each label is a policy's own: a comma parts it from what else was changed."""
    return ~policy_labels.str.contains(", ", regex=False)
