"""Turns a law's terms into predictions and analytic Jacobians for many parameter sets at once.

A law is linear in some parameters and free in others (exponents, scales):
y = sum_j c_j phi_j(x; e). Shapes: R parameter sets, n points, K parameters (linear ones first).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

Array = np.ndarray
Values = Mapping[str, Array]
Terms = tuple[dict[str, Array], dict[tuple[str, str], Array]]

LOG_LOSS_DELTA = 1e-3  # of log residuals, as in approach 3 of Hoffmann 2203.15556
NOISE_DELTA = 1.345  # in units of the noise: 95 % as efficient as least squares on Gaussian noise


@dataclass(frozen=True)
class Free:
    """A parameter that enters a law nonlinearly, with its domain and its starting values.

    A scale is searched on its logarithm. With `per` the domain and the starts count in units of
    1 / (median of that input), with `times` in units of that median, so that they hold for a
    clock of any unit.
    """

    name: str
    low: float
    high: float
    starts: tuple[float, ...]
    scale: bool = False
    per: str | None = None
    times: str | None = None


@dataclass(frozen=True)
class Law:
    """A named form: what goes in, what comes out, its parameters and the least data it needs.

    `terms(e, x)` maps free parameters (R, 1) and inputs (n,) to the terms phi_j (R, n) by linear
    name, and to their derivatives by (linear name, free name). With `link="log"` the terms add up
    to ln y. `distinct` says how many distinct values each input must have, `domain` where inputs
    may lie (both ends included).
    """

    name: str
    formula: str
    source: str
    target: str
    inputs: tuple[str, ...]
    linear: tuple[str, ...]
    free: tuple[Free, ...]
    terms: Callable[[Values, Values], Terms]
    distinct: Mapping[str, int]
    domain: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    compare: Literal["log", "difference"] = "difference"
    link: Literal["identity", "log"] = "identity"
    noise_scaled: bool = True
    fixed: Mapping[str, float] = field(default_factory=dict)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of what is fitted, linear ones first."""
        return self.linear + tuple(free.name for free in self.free)

    @property
    def delta(self) -> float:
        """Where Huber's loss turns from square to straight, in the units of the residuals."""
        return NOISE_DELTA if self.noise_scaled else LOG_LOSS_DELTA

    def fix(self, **values: float) -> Law:
        """Return the law with parameters held at given values; a linear one can only be 0.

        The ablation of a factor is the law with that factor's parameters fixed.
        """
        return replace(
            self,
            linear=tuple(name for name in self.linear if name not in values),
            free=tuple(free for free in self.free if free.name not in values),
            fixed={**self.fixed, **values},
        )


def evaluate(law: Law, theta_RK: Array, x: Values) -> tuple[Array, Array]:
    """Return the law's sum of terms (R, n) and its Jacobian (R, n, K) in internal parameters."""
    natural_RK = natural(law, theta_RK)
    n_linear = len(law.linear)
    free = {p.name: natural_RK[:, n_linear + k, None] for k, p in enumerate(law.free)}
    held = {name: np.full((len(theta_RK), 1), value) for name, value in law.fixed.items()}
    terms, slopes = law.terms({**held, **free}, x)
    n_points = len(next(iter(x.values())))
    jacobian_RnK = np.zeros((len(theta_RK), n_points, theta_RK.shape[1]))
    for j, name in enumerate(law.linear):
        jacobian_RnK[:, :, j] = terms[name]
    sum_Rn = np.einsum("rnj,rj->rn", jacobian_RnK[:, :, :n_linear], theta_RK[:, :n_linear])
    for k, p in enumerate(law.free, start=n_linear):
        chain_R1 = natural_RK[:, k, None] if p.scale else 1.0
        for j, name in enumerate(law.linear):
            if (name, p.name) in slopes:
                factor_R1 = theta_RK[:, j, None] * chain_R1
                jacobian_RnK[:, :, k] += factor_R1 * slopes[name, p.name]
    return sum_Rn, jacobian_RnK


def predict(law: Law, theta_RK: Array, x: Values) -> Array:
    """Return y (R, m) for many parameter sets, in the unit of the target."""
    sum_Rn, _ = evaluate(law, np.atleast_2d(theta_RK), x)
    return np.exp(sum_Rn) if law.link == "log" else sum_Rn


def natural(law: Law, theta_RK: Array) -> Array:
    """Return parameters as they stand in the formula: scales are searched as logarithms."""
    values_RK = np.array(theta_RK, dtype=float)
    for k, free in enumerate(law.free, start=len(law.linear)):
        if free.scale:
            values_RK[..., k] = np.exp(values_RK[..., k])
    return values_RK


def bounds(law: Law, x: Values) -> tuple[Array, Array]:
    """Return the lowest and highest internal parameters (K,); linear ones are unbounded."""
    n_linear = len(law.linear)
    low_K = np.full(len(law.parameters), -np.inf)
    high_K = np.full(len(law.parameters), np.inf)
    for k, free in enumerate(law.free, start=n_linear):
        low_K[k], high_K[k] = internal(free, np.array([free.low, free.high]), x)
    return low_K, high_K


def internal(free: Free, values: Array, x: Values) -> Array:
    """Return values of one free parameter on the scale on which it is searched."""
    unit = 1.0
    if free.per is not None:
        unit = 1 / float(np.median(x[free.per]))
    if free.times is not None:
        unit = float(np.median(x[free.times]))
    return np.log(values * unit) if free.scale else values * unit
