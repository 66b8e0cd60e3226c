"""The law `log-linear`: y = a + b ln t + c ln(p + epsilon), the baseline every law must beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from palimpsest.core.laws.form import Law, Terms, Values

EPSILON = 0.01  # keeps ln(p + epsilon) finite at no replay; about the smallest ratio of interest
SHARES = {"p", "q"}


def terms_in(inputs: Sequence[str], x: Values) -> Terms:
    """Return 1 and the logarithm of each of the inputs, shares moved off zero by epsilon."""
    values = {"a": np.ones((1, len(next(iter(x.values())))))}
    for name in inputs:
        values[f"b_{name}"] = np.log(x[name] + EPSILON if name in SHARES else x[name])[None, :]
    return values, {}


LAW = Law(
    name="log-linear",
    formula="y = a + b_t ln t + b_p ln(p + 0.01)",
    source="baseline",
    target="y",
    inputs=("t", "p"),
    linear=("a", "b_t", "b_p"),
    free=(),
    terms=lambda e, x: terms_in(("t", "p"), x),
    distinct={"t": 2, "p": 2},
    domain={"t": (1e-300, np.inf), "p": (0.0, 1.0)},
)


def over(inputs: Sequence[str]) -> Law:
    """Return the baseline in the given inputs; p and q count as shares."""
    slopes = tuple(f"b_{name}" for name in inputs)
    written = " + ".join(f"b_{n} ln({n}{' + 0.01' if n in SHARES else ''})" for n in inputs)
    return replace(
        LAW,
        formula=f"y = a + {written}",
        inputs=tuple(inputs),
        linear=("a", *slopes),
        terms=lambda e, x: terms_in(inputs, x),
        distinct=dict.fromkeys(inputs, 2),
        domain={n: (0.0, 1.0) if n in SHARES else (1e-300, np.inf) for n in inputs},
    )
