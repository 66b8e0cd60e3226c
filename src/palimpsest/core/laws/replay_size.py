"""The law `replay-size`: forgetting at the end of training over replay share and size.

It is the slice of `joint` at one amount of training, which is all that finished runs of one
length can tell.
"""

from __future__ import annotations

import numpy as np

from palimpsest.core.laws.form import Free, Law, Terms, Values


def terms(e: Values, x: Values) -> Terms:
    """Return the floor 1 and (1 + B p)^-a N^-g."""
    mixed = np.log1p(e["B"] * x["p"])
    fall = np.exp(-e["a"] * mixed - e["g"] * np.log(x["N"]))
    slopes = {
        ("F_0", "a"): -mixed * fall,
        ("F_0", "B"): -e["a"] * fall * x["p"] / (1 + e["B"] * x["p"]),
        ("F_0", "g"): -np.log(x["N"]) * fall,
    }
    return {"F_inf": np.ones_like(fall), "F_0": fall}, slopes


LAW = Law(
    name="replay-size",
    formula="F = F_inf + F_0 (1 + B p)^-a N^-g",
    source="this study: `joint` at one amount of training",
    target="F",
    inputs=("p", "N"),
    linear=("F_inf", "F_0"),
    free=(
        Free("a", 0.05, 10.0, (0.3, 0.7, 1.5, 4.0)),
        Free("B", 1e-1, 1e5, (1.0, 10.0, 100.0, 1000.0), scale=True),
        Free("g", -2.0, 2.0, (-0.2, 0.05, 0.3)),
    ),
    terms=terms,
    distinct={"p": 3, "N": 3},
    domain={"p": (0.0, 1.0), "N": (1e-300, np.inf)},
)
