"""The law `replay-exponential`: the exponential rival of `replay-share`, without a floor.

A floor as third parameter would leave no ratio to judge it by in a study of four ratios.
"""

from __future__ import annotations

import numpy as np

from palimpsest.core.laws.form import Free, Law, Terms, Values


def terms(e: Values, x: Values) -> Terms:
    """Return e^(-k p)."""
    fall = np.exp(-e["k"] * x["p"])
    return {"F_0": fall}, {("F_0", "k"): -x["p"] * fall}


LAW = Law(
    name="replay-exponential",
    formula="F = F_0 e^(-k p)",
    source="rival of replay-share",
    target="F",
    inputs=("p",),
    linear=("F_0",),
    free=(Free("k", 1e-2, 1e3, (0.5, 2.0, 8.0, 30.0, 100.0), scale=True),),
    terms=terms,
    distinct={"p": 3},
    domain={"p": (0.0, 1.0)},
)
