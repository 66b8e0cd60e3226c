"""The law `forgetting-line`: is the loss on old text a function of the loss on new text alone?"""

from __future__ import annotations

import numpy as np

from palimpsest.core.laws.form import Law, Terms, Values


def terms(e: Values, x: Values) -> Terms:
    """Return 1 and -L_new."""
    line = x["L_new"][None, :]
    return {"s": np.ones_like(line), "c": -line}, {}


LAW = Law(
    name="forgetting-line",
    formula="L_forget = s - c L_new",
    source="Kalajdzievski 2401.05605",
    target="L_forget",
    inputs=("L_new",),
    linear=("s", "c"),
    free=(),
    terms=terms,
    distinct={"L_new": 3},
)
