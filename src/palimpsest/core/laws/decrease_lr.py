"""The law `decrease-lr`: the learning rate that lowers the loss by a share f in one step.

Without f (`fix(nu=0)`) it is the law of `best`, of `edge` and of any single f.
"""

from __future__ import annotations

import numpy as np

from palimpsest.core.laws.form import Law, Terms, Values


def terms(e: Values, x: Values) -> Terms:
    """Return the terms of ln eta: 1, -ln N and ln f."""
    size = -np.log(x["N"])[None, :]
    return {"ln_c": np.ones_like(size), "kappa": size, "nu": np.log(x["f"])[None, :]}, {}


LAW = Law(
    name="decrease-lr",
    formula="eta = c N^-kappa f^nu",
    source="this study; `edge` is the critical learning rate of Kalra 2601.16979",
    target="eta",
    inputs=("N", "f"),
    linear=("ln_c", "kappa", "nu"),
    free=(),
    terms=terms,
    distinct={"N": 3, "f": 2},
    domain={"N": (1e-300, np.inf), "f": (1e-12, 1.0), "eta": (1e-300, np.inf)},
    compare="log",
    link="log",
)
