"""The law `constant`: nothing matters. What every other form must beat."""

from __future__ import annotations

import numpy as np

from palimpsest.core.laws.form import Law, Terms, Values


def terms(e: Values, x: Values) -> Terms:
    """Return the single term 1 (R or 1, n); `x` holds the index of the points alone."""
    n_points = len(next(iter(x.values())))
    return {"a": np.ones((1, n_points))}, {}


LAW = Law(
    name="constant",
    formula="y = a",
    source="baseline",
    target="y",
    inputs=("x",),
    linear=("a",),
    free=(),
    terms=terms,
    distinct={},
)
