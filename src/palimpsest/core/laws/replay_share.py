"""The law `replay-share`: forgetting falls with the replay share as a shifted power."""

from __future__ import annotations

import numpy as np

from palimpsest.core.laws.form import Free, Law, Terms, Values


def terms(e: Values, x: Values) -> Terms:
    """Return the floor 1 and (1 + B p)^-a."""
    mixed = np.log1p(e["B"] * x["p"])
    fall = np.exp(-e["a"] * mixed)
    slopes = {
        ("F_0", "a"): -mixed * fall,
        ("F_0", "B"): -e["a"] * fall * x["p"] / (1 + e["B"] * x["p"]),
    }
    return {"F_inf": np.ones_like(fall), "F_0": fall}, slopes


LAW = Law(
    name="replay-share",
    formula="F = F_inf + F_0 (1 + B p)^-a",
    source="Bethune 2502.06042 with an offset",
    target="F",
    inputs=("p",),
    linear=("F_inf", "F_0"),
    free=(
        Free("a", 0.05, 10.0, (0.3, 0.7, 1.5, 4.0)),
        Free("B", 1e-1, 1e5, (1.0, 10.0, 100.0, 1000.0), scale=True),
    ),
    terms=terms,
    distinct={"p": 5},
    domain={"p": (0.0, 1.0)},
)
