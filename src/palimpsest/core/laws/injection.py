"""The law `injection`: forgetting over tokens T, replay share p and parameters N."""

from __future__ import annotations

import numpy as np

from palimpsest.core.laws.form import Free, Law, Terms, Values


def terms(e: Values, x: Values) -> Terms:
    """Return T^beta / ((1 + B p) N)^alpha and the offset 1."""
    mixed = np.log1p(e["B"] * x["p"])
    total = mixed + np.log(x["N"])
    rise = np.exp(e["beta"] * np.log(x["T"]) - e["alpha"] * total)
    slopes = {
        ("A", "beta"): np.log(x["T"]) * rise,
        ("A", "alpha"): -total * rise,
        ("A", "B"): -e["alpha"] * rise * x["p"] / (1 + e["B"] * x["p"]),
    }
    return {"A": rise, "offset": np.ones_like(rise)}, slopes


LAW = Law(
    name="injection",
    formula="F = A T^beta / ((1 + B p) N)^alpha + offset",
    source="Bethune 2502.06042",
    target="F",
    inputs=("T", "p", "N"),
    linear=("A", "offset"),
    free=(
        Free("beta", -2.0, 3.0, (0.2, 0.5, 1.0)),
        Free("alpha", -2.0, 3.0, (0.1, 0.3, 0.7, 1.2)),
        Free("B", 1e-2, 1e5, (1.0, 10.0, 100.0, 1000.0), scale=True),
    ),
    terms=terms,
    distinct={"T": 3, "p": 3, "N": 3},
    domain={"T": (1e-300, np.inf), "p": (0.0, 1.0), "N": (1e-300, np.inf)},
)
