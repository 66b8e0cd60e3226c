"""The law `joint`: forgetting over learning (on a clock S), replay share p and size N at once."""

from __future__ import annotations

import numpy as np

from palimpsest.core.laws.form import Free, Law, Terms, Values


def terms(e: Values, x: Values) -> Terms:
    """Return (1 - (1 + E S)^-beta)(1 + B_p p)^-a N^-g and the gain -S^h."""
    grown = np.log1p(e["E"] * x["S"])
    left = np.exp(-e["beta"] * grown)
    mixed = np.log1p(e["B_p"] * x["p"])
    factor = np.exp(-e["a"] * mixed - e["g"] * np.log(x["N"]))
    shift = (1 - left) * factor
    gain = np.exp(e["h"] * np.log(np.maximum(x["S"], 1e-300)))
    slopes = {
        ("B", "E"): e["beta"] * left * factor * x["S"] / (1 + e["E"] * x["S"]),
        ("B", "beta"): grown * left * factor,
        ("B", "B_p"): -e["a"] * shift * x["p"] / (1 + e["B_p"] * x["p"]),
        ("B", "a"): -mixed * shift,
        ("B", "g"): -np.log(x["N"]) * shift,
        ("G", "h"): -np.log(np.maximum(x["S"], 1e-300)) * gain,
    }
    return {"B": shift, "G": -gain}, slopes


LAW = Law(
    name="joint",
    formula="F = B(1 - (1 + E S)^-beta)(1 + B_p p)^-a N^-g - G S^h",
    source="this study",
    target="F",
    inputs=("S", "p", "N"),
    linear=("B", "G"),
    free=(
        # clocks with rates over decades reach 3,000 medians: E S = 0.3 there is all but straight
        Free("E", 1e-4, 1e3, (0.3, 3.0, 30.0), scale=True, per="S"),
        Free("beta", 0.05, 6.0, (0.3, 1.0, 3.0)),
        Free("B_p", 1e-1, 1e5, (3.0, 30.0, 300.0), scale=True),
        Free("a", 0.05, 10.0, (0.3, 1.0)),
        Free("g", -2.0, 2.0, (-0.1, 0.2)),
        Free("h", 0.1, 3.0, (0.5, 1.0)),
    ),
    terms=terms,
    distinct={"S": 5, "p": 3, "N": 3},
    domain={"S": (0.0, np.inf), "p": (0.0, 1.0), "N": (1e-300, np.inf)},
)
