"""The law `d-cpt`: loss of one domain over parameters N, tokens T and its share q."""

from __future__ import annotations

import numpy as np

from palimpsest.core.laws.form import Free, Law, Terms, Values

EPSILON = 0.1  # keeps (q + epsilon)^-gamma finite where the domain has no share
STARTS = (0.2, 0.6, 1.2)


def terms(e: Values, x: Values) -> Terms:
    """Return 1, N^-alpha, q^eta T^-beta and (q + epsilon)^-gamma."""
    size = np.exp(-e["alpha"] * np.log(x["N"]))
    log_share = np.log(np.maximum(x["q"], 1e-12))
    data = np.exp(e["eta"] * log_share - e["beta"] * np.log(x["T"]))
    mixture = (x["q"] + EPSILON) ** -e["gamma"]
    slopes = {
        ("A", "alpha"): -np.log(x["N"]) * size,
        ("B", "eta"): log_share * data,
        ("B", "beta"): -np.log(x["T"]) * data,
        ("C", "gamma"): -np.log(x["q"] + EPSILON) * mixture,
    }
    return {"E": np.ones_like(size), "A": size, "B": data, "C": mixture}, slopes


LAW = Law(
    name="d-cpt",
    formula="L = E + A/N^alpha + B q^eta/T^beta + C/(q + 0.1)^gamma",
    source="Que 2406.01375",
    target="L",
    inputs=("N", "T", "q"),
    linear=("E", "A", "B", "C"),
    free=(
        Free("alpha", 0.01, 3.0, STARTS),
        Free("eta", 0.0, 4.0, (0.3, 1.0)),
        Free("beta", 0.01, 3.0, STARTS),
        Free("gamma", 0.01, 4.0, (0.3, 1.0)),
    ),
    terms=terms,
    distinct={"N": 4, "T": 3, "q": 4},
    domain={"N": (1e-300, np.inf), "T": (1e-300, np.inf), "q": (0.0, 1.0)},
    compare="log",
    noise_scaled=False,
)
