"""The law `replay-line`: a quantity moves in a straight line with the replay share."""

from __future__ import annotations

import numpy as np

from palimpsest.core.laws.form import Law, Terms, Values


def terms(e: Values, x: Values) -> Terms:
    """Return 1 and p."""
    share = x["p"][None, :]
    return {"a": np.ones_like(share), "b": share}, {}


LAW = Law(
    name="replay-line",
    formula="F = a + b p",
    source="rival of replay-share, for what replay costs in learning",
    target="F",
    inputs=("p",),
    linear=("a", "b"),
    free=(),
    terms=terms,
    distinct={"p": 3},
    domain={"p": (0.0, 1.0)},
)
