"""Held-out losses by checkpoint → learning and forgetting along each run, in nats per token."""

from __future__ import annotations

import pandas as pd


def losses_along(held_out: pd.DataFrame) -> pd.DataFrame:
    """Return loss, learning and forgetting of every run and checkpoint, the domains weighted.

    held_out: one row per run, checkpoint, corpus ("new", "original") and domain. Checkpoint 0 is
    θ₀; a run without it has neither learning nor forgetting.
    """
    weighted = held_out.assign(total=held_out.loss_nats * held_out.n_tokens)
    sums = weighted.groupby(["run", "checkpoint_step", "corpus"])[["total", "n_tokens"]].sum()
    losses = (
        (sums.total / sums.n_tokens)
        .unstack("corpus")
        .reindex(columns=["new", "original"])
        .reset_index()
    )
    losses = losses.rename(columns={"new": "loss_new_nats", "original": "loss_original_nats"})
    start = losses[losses.checkpoint_step == 0].set_index("run")
    new, original = (
        losses.run.map(start[c]).astype(float) for c in ("loss_new_nats", "loss_original_nats")
    )
    return losses.assign(
        learning_nats=new - losses.loss_new_nats,
        forgetting_nats=losses.loss_original_nats - original,
    )
