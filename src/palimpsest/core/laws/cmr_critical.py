"""The law `cmr-critical`: the critical share of the new domain over training tokens T."""

from __future__ import annotations

import numpy as np

from palimpsest.core.laws.form import Free, Law, Terms, Values


def terms(e: Values, x: Values) -> Terms:
    """Return T^s_4 and 1."""
    rise = np.exp(e["s_4"] * np.log(x["T"]))
    return {"a_4": rise, "b_3": np.ones_like(rise)}, {("a_4", "s_4"): np.log(x["T"]) * rise}


LAW = Law(
    name="cmr-critical",
    formula="q_star = a_4 T^s_4 + b_3",
    source="Gu 2407.17467",
    target="q_star",
    inputs=("T",),
    linear=("a_4", "b_3"),
    free=(Free("s_4", -3.0, 3.0, (-1.0, -0.3, 0.3, 1.0)),),
    terms=terms,
    distinct={"T": 4},
    domain={"T": (1e-300, np.inf)},
)
