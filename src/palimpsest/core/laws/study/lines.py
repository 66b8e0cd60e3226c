"""Is forgetting a function of learning alone? The line of old loss over new loss, per model."""

from __future__ import annotations

import numpy as np
import pandas as pd

from palimpsest.core.laws import load
from palimpsest.core.laws.intervals import Noise
from palimpsest.core.laws.study.entry import Entry, Options, make_entry, points_of
from palimpsest.core.plain_runs import SETTING, bare_runs


def line_fits(runs: pd.DataFrame, noise: Noise | None, options: Options) -> list[Entry]:
    """Fit `forgetting-line` to the final losses of each model's runs."""
    if not options.wants("forgetting-line"):
        return []
    mixed = bare_runs(runs)
    entries = []
    for model, group in mixed.groupby("model"):
        inputs = {"L_new": "loss_new_nats"}
        points = points_of(group, inputs, target="loss_original_nats", cell=SETTING)
        ends = points.x["L_new"] if len(points) else np.zeros(1)
        entries.append(
            make_entry(
                f"forgetting line/{model}",
                load("forgetting-line"),
                points,
                what=f"loss on old text over loss on new text, {model}",
                question=14,
                options=options,
                noise=noise,
                grid={"L_new": np.linspace(ends.min(), ends.max(), 41)},
                group={"model": str(model)},
            )
        )
    return entries
