"""The law `chinchilla`: loss over parameters N and training tokens D."""

from __future__ import annotations

import numpy as np

from palimpsest.core.laws.form import Free, Law, Terms, Values

STARTS = (0.15, 0.3, 0.5, 0.8, 1.2)


def terms(e: Values, x: Values) -> Terms:
    """Return 1, N^-alpha and D^-beta."""
    size = np.exp(-e["alpha"] * np.log(x["N"]))
    data = np.exp(-e["beta"] * np.log(x["D"]))
    slopes = {("A", "alpha"): -np.log(x["N"]) * size, ("B", "beta"): -np.log(x["D"]) * data}
    return {"E": np.ones_like(size), "A": size, "B": data}, slopes


LAW = Law(
    name="chinchilla",
    formula="L = E + A/N^alpha + B/D^beta",
    source="Hoffmann 2203.15556, approach 3; Besiroglu 2404.10102",
    target="L",
    inputs=("N", "D"),
    linear=("E", "A", "B"),
    free=(Free("alpha", 0.01, 3.0, STARTS), Free("beta", 0.01, 3.0, STARTS)),
    terms=terms,
    distinct={"N": 4, "D": 3},
    domain={"N": (1e-300, np.inf), "D": (1e-300, np.inf)},
    compare="log",
    noise_scaled=False,
)
