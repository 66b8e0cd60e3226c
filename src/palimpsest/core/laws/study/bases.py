"""What pretraining gave: the loss of the bases over their size."""

from __future__ import annotations

import numpy as np
import pandas as pd

from palimpsest.core.laws import load
from palimpsest.core.laws.study.entry import Entry, Options, make_entry, points_of, sizes_around


def one_per_base(bases: pd.DataFrame) -> pd.DataFrame:
    """Return each base checkpoint once.

    The seeds of a published model start from the same weights: their losses are copies of one
    measurement, and neither several points nor a spread over seeds.
    """
    return bases.drop_duplicates(["model", "step", "loss_original_nats", "loss_new_nats"])


def base_fits(bases: pd.DataFrame, options: Options) -> list[Entry]:
    """Fit `power` to the original loss of the final bases over parameters."""
    if not options.wants("power"):
        return []
    final = bases[bases.final.astype(bool)]
    named = final.assign(run=final.model.astype(str) + "/" + final.seed.astype(str))
    points = points_of(named, {"x": "n_params"}, target="loss_original_nats", cell=["model"])
    grid = sizes_around(points.x["x"]) if len(points) else np.empty(0)
    return [
        make_entry(
            "base loss/power",
            load("power"),
            points,
            what="loss on the original domain of the bases over size",
            question=1,
            options=options,
            grid={"x": grid},
        )
    ]
