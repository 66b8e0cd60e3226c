"""The law `repeated-data`: chinchilla with repeated tokens worth less and less."""

from __future__ import annotations

import numpy as np

from palimpsest.core.laws.form import Array, Free, Law, Terms, Values

STARTS = (0.15, 0.3, 0.6, 1.0)


def terms(e: Values, x: Values) -> Terms:
    """Return 1, N^-alpha and D'^-beta with the effective tokens D'."""
    size = np.exp(-e["alpha"] * np.log(x["N"]))
    tokens, by_memory = effective_tokens(x["U"], x["R"], e["R_star"])
    data = np.exp(-e["beta"] * np.log(tokens))
    slopes = {
        ("A", "alpha"): -np.log(x["N"]) * size,
        ("B", "beta"): -np.log(tokens) * data,
        ("B", "R_star"): -e["beta"] * data / tokens * by_memory,
    }
    return {"E": np.ones_like(size), "A": size, "B": data}, slopes


def effective_tokens(unique: Array, repeats: Array, memory: Array) -> tuple[Array, Array]:
    """Return D' = U (1 + R*(1 - e^(-R/R*))) and its derivative by R*."""
    fade = np.exp(-repeats / memory)
    tokens = unique * (1 + memory * (1 - fade))
    return tokens, unique * (1 - fade - repeats / memory * fade)


LAW = Law(
    name="repeated-data",
    formula="L = E + A/N^alpha + B/D'^beta, D' = U(1 + R_star(1 - e^(-R/R_star))), R = epochs - 1",
    source="Muennighoff 2305.16264; see also Hernandez 2205.10487",
    target="L",
    inputs=("N", "U", "R"),
    linear=("E", "A", "B"),
    free=(
        Free("alpha", 0.01, 3.0, STARTS),
        Free("beta", 0.01, 3.0, STARTS),
        Free("R_star", 0.05, 1e3, (1.0, 5.0, 20.0), scale=True),
    ),
    terms=terms,
    distinct={"N": 4, "U": 2, "R": 3},
    domain={"N": (1e-300, np.inf), "U": (1e-300, np.inf), "R": (0.0, np.inf)},
    compare="log",
    noise_scaled=False,
)
