"""The law `power`: a quantity falls towards a floor as a power of one input."""

from __future__ import annotations

import numpy as np

from palimpsest.core.laws.form import Free, Law, Terms, Values


def terms(e: Values, x: Values) -> Terms:
    """Return 1 and x^-alpha."""
    fall = x["x"] ** -e["alpha"]
    return {"E": np.ones_like(fall), "A": fall}, {("A", "alpha"): -np.log(x["x"]) * fall}


LAW = Law(
    name="power",
    formula="L = E + A x^-alpha",
    source="the usual form of a scaling law with a floor",
    target="L",
    inputs=("x",),
    linear=("E", "A"),
    free=(Free("alpha", 0.01, 4.0, (0.05, 0.15, 0.3, 0.5, 0.8, 1.3, 2.0)),),
    terms=terms,
    distinct={"x": 4},
    domain={"x": (1e-300, np.inf)},
    compare="log",
    noise_scaled=False,
)
