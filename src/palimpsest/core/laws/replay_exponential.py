"""The law `replay-exponential`: the exponential rival of `replay-share`."""

from __future__ import annotations

import numpy as np

from palimpsest.core.laws.form import Free, Law, Terms, Values


def terms(e: Values, x: Values) -> Terms:
    """Return the floor 1 and e^(-k p)."""
    fall = np.exp(-e["k"] * x["p"])
    return {"F_inf": np.ones_like(fall), "F_0": fall}, {("F_0", "k"): -x["p"] * fall}


LAW = Law(
    name="replay-exponential",
    formula="F = F_inf + F_0 e^(-k p)",
    source="rival of replay-share",
    target="F",
    inputs=("p",),
    linear=("F_inf", "F_0"),
    free=(Free("k", 1e-2, 1e3, (0.5, 2.0, 8.0, 30.0, 100.0), scale=True),),
    terms=terms,
    distinct={"p": 4},
    domain={"p": (0.0, 1.0)},
)
