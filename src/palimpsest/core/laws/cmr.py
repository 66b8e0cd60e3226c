"""The law `cmr`: loss over the share q of the new domain."""

from __future__ import annotations

import numpy as np

from palimpsest.core.laws.form import Free, Law, Terms, Values


def terms(e: Values, x: Values) -> Terms:
    """Return q^s and 1."""
    rise = x["q"] ** e["s"]
    return {"a": rise, "b": np.ones_like(rise)}, {("a", "s"): np.log(x["q"]) * rise}


LAW = Law(
    name="cmr",
    formula="L = a q^s + b",
    source="Gu 2407.17467",
    target="L",
    inputs=("q",),
    linear=("a", "b"),
    free=(Free("s", -4.0, 8.0, (-1.0, -0.2, 0.3, 1.0, 2.5)),),
    terms=terms,
    distinct={"q": 4},
    domain={"q": (1e-6, 1.0)},
    compare="log",
    noise_scaled=False,
)
