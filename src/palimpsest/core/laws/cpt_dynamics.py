"""The law `cpt-dynamics`: the loss curve of continued pretraining, driven by the learning rate.

The learning rate enters only through its sum S and the annealing area S2; replay p weakens the
shift term.
"""

from __future__ import annotations

import numpy as np

from palimpsest.core.laws.form import Free, Law, Terms, Values


def terms(e: Values, x: Values) -> Terms:
    """Return 1, (S_pt + S)^-alpha, -S2 and (1 - (1 + E S)^-beta) e^(-k p)."""
    whole = e["S_pt"] + x["S"]
    fall = np.exp(-e["alpha"] * np.log(whole))
    grown = np.log1p(e["E"] * x["S"])
    left = np.exp(-e["beta"] * grown)
    kept = np.exp(-e["k"] * x["p"])
    values = {
        "L_0": np.ones_like(fall),
        "A": fall,
        "C": -x["S2"] + 0 * fall,
        "B": (1 - left) * kept,
    }
    slopes = {
        ("A", "alpha"): -np.log(whole) * fall,
        ("A", "S_pt"): -e["alpha"] * fall / whole,
        ("B", "beta"): grown * left * kept,
        ("B", "E"): e["beta"] * left * kept * x["S"] / (1 + e["E"] * x["S"]),
        ("B", "k"): -x["p"] * (1 - left) * kept,
    }
    return values, slopes


LAW = Law(
    name="cpt-dynamics",
    formula="L = L_0 + A(S_pt + S)^-alpha - C S2 + B(1 - (1 + E S)^-beta) e^(-k p)",
    source="Wang 2505.07796, Tissue 2408.11029",
    target="L",
    inputs=("S", "S2", "p"),
    linear=("L_0", "A", "C", "B"),
    free=(
        Free("alpha", 0.01, 4.0, (0.3, 1.0)),
        Free("S_pt", 1e-2, 1e3, (0.3, 3.0, 30.0), scale=True, times="S"),
        Free("E", 1e-2, 1e3, (0.3, 3.0, 30.0), scale=True, per="S"),
        Free("beta", 0.05, 6.0, (0.3, 1.0)),
        Free("k", 1e-2, 1e2, (0.5, 4.0), scale=True),
    ),
    terms=terms,
    distinct={"S": 6, "S2": 3, "p": 3},
    domain={"S": (0.0, np.inf), "p": (0.0, 1.0)},
    compare="log",
    noise_scaled=False,
)
