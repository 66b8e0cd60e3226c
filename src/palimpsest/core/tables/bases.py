"""What the pretrainings kept and what runs measured on it → one row per base checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

BASE_COLUMNS = [
    *("model", "seed", "n_params", "n_params_total", "step", "n_tokens"),
    *("loss_original_nats", "loss_new_nats", "final"),
]


def bases_table(
    bases: dict[tuple[str, int], dict[int, dict[str, Any]]],
    entries: list[dict[str, Any]],
    held_out: pd.DataFrame,
) -> pd.DataFrame:
    """Return every kept checkpoint; losses, nats per token, where a run started from it, else NaN.

    bases: (model, seed) → step → {step, n_tokens, n_params, n_params_total}; `final` marks the
    last. held_out: the rows of all runs at their θ₀.
    """
    losses = _losses(entries, held_out)
    rows = []
    for (model, seed), checkpoints in sorted(bases.items()):
        for step, kept in sorted(checkpoints.items()):
            measured = losses.get((model, seed, step), {})
            row = {"model": model, "seed": seed, "final": step == max(checkpoints)}
            row |= {name: kept[name] for name in BASE_COLUMNS[2:6]}
            for corpus in ("original", "new"):
                row[f"loss_{corpus}_nats"] = measured.get(corpus, np.nan)
            rows.append(row)
    return pd.DataFrame(rows, columns=BASE_COLUMNS)


def _losses(
    entries: list[dict[str, Any]], held_out: pd.DataFrame
) -> dict[tuple[str, int, int], dict[str, float]]:
    """Return (model, seed, step) → corpus → mean loss, from the first run that started there."""
    nats = (held_out.loss_nats * held_out.n_tokens).groupby([held_out.run, held_out.corpus]).sum()
    means = nats / held_out.groupby(["run", "corpus"]).n_tokens.sum()
    found: dict[tuple[str, int, int], dict[str, float]] = {}
    for entry in entries:
        place = (entry["model"], entry["seed"], entry["base_step"])
        if place not in found:
            found[place] = means.loc[entry["run"]].to_dict()
    return found
