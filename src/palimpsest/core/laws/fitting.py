"""Turns points into a fitted law, or into one line that says why it is not fitted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from palimpsest.core.laws.form import Array, Law, bounds, natural, predict
from palimpsest.core.laws.points import Points
from palimpsest.core.laws.projection import projected
from palimpsest.core.laws.solver import Problem, quadratic, residuals, solve
from palimpsest.core.laws.starts import (
    FEW_STARTS,
    MOST_STARTS,
    SAME_OPTIMUM,
    Descents,
    floor,
    many_starts,
    starting_values,
)

WORST_CONDITION = (
    1e6  # of the Jacobian with columns of length 1; beyond it a 1e-6 change flips signs
)
LEAST_NOISE = 1e-4  # of the spread of y: where points fit better than that, there is no noise
AT_BOUND = 1e-6  # of the box's width


@dataclass(frozen=True)
class Fit:
    """A fitted or refused law; `theta` holds the internal parameters (K,) of a fitted one."""

    law: Law
    n_points: int
    status: str
    reason: str
    theta: Array = field(default_factory=lambda: np.empty(0))
    objective: float = np.nan
    delta: float = np.nan
    noise: float = np.nan
    condition: float = np.nan
    routes: dict[str, Any] = field(default_factory=dict)
    delta_moves: dict[str, dict[str, float]] = field(default_factory=dict)
    residuals: Array = field(default_factory=lambda: np.empty(0))

    @property
    def fitted(self) -> bool:
        """Whether there are parameters to predict with."""
        return self.status == "fitted"

    @property
    def parameters(self) -> dict[str, float]:
        """Parameters by name, as they stand in the formula."""
        if not len(self.theta):
            return {}
        values = natural(self.law, self.theta[None])[0]
        return {n: float(v) for n, v in zip(self.law.parameters, values, strict=True)}

    def at(self, x: dict[str, Array]) -> Array:
        """Return predictions (m,) in the unit of the target."""
        return predict(self.law, self.theta[None], x)[0]


def fit(law: Law, points: Points, *, noise: float | None = None, seed: int = 0) -> Fit:
    """Fit a law by two routes and judge whether its parameters mean anything.

    `noise` is the standard deviation of a run in the residual's unit, from replicates; without
    it, it is taken from the residuals themselves. Forms without noise scaling do not use it.
    """
    refusal = too_little(law, points)
    if refusal:
        return Fit(law, len(points), "refused", refusal)
    problem, found = descend(law, points, noise=noise, seed=seed)
    theta, objective = found.theta, found.objective
    if not np.isfinite(objective):
        return Fit(law, len(points), "refused", "no start gives possible predictions")
    condition = condition_number(residuals(problem, theta[None])[1][0])
    reason = not_identified(problem, theta, condition=condition)
    if not reason and flat(problem, objective):
        reason = "flat: a constant describes these points as well (AICc)"
    if reason:
        return described(problem, points, theta, reason=reason, routes=first_only(found))
    other, other_objective = projected(problem, aim=objective, seed=seed)
    routes = {
        **first_only(found),
        "projection": {"objective": other_objective, "parameters": named(law, other)},
        "agree": bool(abs(objective - other_objective) <= tolerance(problem, objective)),
    }
    if other_objective < objective:
        theta = other
    reason = "" if routes["agree"] else "the two routes end at different optima: no clear minimum"
    return described(problem, points, theta, reason=reason, routes=routes)


def first_only(found: Descents) -> dict[str, Any]:
    """Return what the first route found where the second was not needed to refuse."""
    return {"starts": {"objective": found.objective, "share_at_optimum": found.share}}


def descend(
    law: Law, points: Points, *, noise: float | None, seed: int, near: Array | None = None
) -> tuple[Problem, Descents]:
    """Take the first route; without a known noise, twice: it comes from the first residuals.

    `near` are parameters known to fit most of the points: they and a few others start then.
    """
    problem = problem_of(law, points, noise=noise)
    starts = starting_values(problem, seed=seed, most=MOST_STARTS if near is None else FEW_STARTS)
    if near is not None:
        starts = np.concatenate([near[None], starts])
    found = many_starts(problem, starts)
    if law.noise_scaled and noise is None and np.isfinite(found.objective):
        problem = replace(problem, sigma=own_noise(problem, found.theta))
        found = many_starts(problem, found.ends)
    return problem, found


def tolerance(problem: Problem, objective: float) -> float:
    """Return by how much two objectives may differ and still be the same optimum."""
    return SAME_OPTIMUM * max(objective, floor(problem))


def described(
    problem: Problem, points: Points, theta: Array, *, reason: str, routes: dict[str, Any]
) -> Fit:
    """Return the fit with its diagnostics; with a reason against it, it is refused."""
    residual, jacobian = (part[0] for part in residuals(problem, theta[None])[:2])
    return Fit(
        law=problem.law,
        n_points=len(points),
        status="refused" if reason else "fitted",
        reason=reason or noted(points),
        theta=theta,
        objective=float(quadratic(problem, theta[None]).objective[0]),
        delta=problem.delta,
        noise=float(problem.sigma[0]),
        condition=condition_number(jacobian),
        routes=routes,
        delta_moves={} if reason else delta_moves(problem, theta),
        residuals=residual,
    )


def too_little(law: Law, points: Points) -> str:
    """Say what data is missing for this law, or return an empty line."""
    symbols = {**points.x, law.target: points.y}
    for symbol, (low, high) in law.domain.items():
        outside = int(np.sum((symbols[symbol] < low) | (symbols[symbol] > high)))
        if outside:
            return f"{outside} of {len(points)} values of {symbol} lie outside {low:g}..{high:g}"
    if law.compare == "log" and bool(np.any(points.y <= 0)):
        return f"{law.target} must be positive; the smallest is {points.y.min():g}"
    for symbol, needed in law.distinct.items():
        if symbol in law.inputs and points.n_distinct(symbol) < needed:
            return f"needs {needed} values of {symbol}, there are {points.n_distinct(symbol)}"
    n_parameters = len(law.parameters)
    if points.n_settings <= n_parameters and law.inputs and n_parameters > 1:
        return (
            f"{n_parameters} parameters need at least {n_parameters + 1} distinct settings, "
            f"there are {points.n_settings}"
        )
    return "" if len(points) > 1 else "needs at least two points"


def problem_of(law: Law, points: Points, *, noise: float | None) -> Problem:
    """Put points on the scale on which the law compares."""
    low, high = bounds(law, points.x)
    z = np.log(points.y) if law.compare == "log" else points.y
    sigma = noise if law.noise_scaled and noise else 1.0
    if law.noise_scaled and not noise:
        sigma = max(float(np.std(z)), 1e-12)
    held = np.zeros(len(low), dtype=bool)
    x = points.x or {"x": np.arange(len(points), dtype=float)}
    return Problem(law, x, z, np.full(len(z), sigma), law.delta, low, high, held)


def own_noise(problem: Problem, theta: Array) -> Array:
    """Estimate the noise from the residuals' median size, corrected for the parameters used."""
    residual = residuals(problem, theta[None])[0][0] * problem.sigma
    n_points, n_parameters = len(residual), len(theta)
    shrunk = np.sqrt(n_points / max(n_points - n_parameters, 1))
    sigma = 1.4826 * float(np.median(np.abs(residual))) * shrunk
    smallest = LEAST_NOISE * max(float(np.std(problem.z)), 1e-9)
    return np.full(n_points, max(sigma, smallest))


def condition_number(jacobian: Array) -> float:
    """Return the condition of the Jacobian (n, K) with its columns scaled to length 1."""
    length = np.linalg.norm(jacobian, axis=0)
    if not np.all(length > 0):
        return float("inf")
    singular = np.linalg.svd(jacobian / length, compute_uv=False)
    return float(singular[0] / singular[-1]) if singular[-1] > 0 else float("inf")


def not_identified(problem: Problem, theta: Array, *, condition: float) -> str:
    """Say which parameter the data leave open, or return an empty line."""
    names = problem.law.parameters
    for name, value, low, high in zip(names, theta, problem.low, problem.high, strict=True):
        margin = AT_BOUND * (high - low) if np.isfinite(high - low) else 0.0
        if np.isfinite(high - low) and not low + margin < value < high - margin:
            return f"not identified: {name} runs to the edge of its domain"
    if condition > WORST_CONDITION:
        return f"not identified: condition {condition:.1e} of the Jacobian"
    return ""


def flat(problem: Problem, objective: float) -> bool:
    """Whether a constant explains the points as well, by the corrected Akaike criterion."""
    n_points, n_parameters = len(problem.z), len(problem.low)
    if n_parameters < 2:
        return False
    constant = floor(problem) * 1e9
    if constant <= 1e-20:
        return True
    gain = n_points * np.log(constant / max(objective, 1e-18 * constant))
    return bool(gain <= penalty(n_parameters, n_points) - penalty(1, n_points))


def penalty(n_parameters: int, n_points: int) -> float:
    """Return what AICc charges for the parameters; the noise counts as one of them."""
    counted = n_parameters + 1
    left = n_points - counted - 1
    return 2 * counted + (2 * counted * (counted + 1) / left if left > 0 else 2 * counted)


def delta_moves(problem: Problem, theta: Array) -> dict[str, dict[str, float]]:
    """Return the parameters when Huber's delta is ten times smaller and ten times larger."""
    moves = {}
    for times in (0.1, 10.0):
        changed = replace(problem, delta=problem.delta * times)
        moved, _ = solve(changed, theta[None])
        moves[f"delta x {times:g}"] = named(problem.law, moved[0])
    return moves


def named(law: Law, theta: Array) -> dict[str, float]:
    """Return parameters by name as they stand in the formula."""
    values = natural(law, theta[None])[0]
    return {name: float(value) for name, value in zip(law.parameters, values, strict=True)}


def noted(points: Points) -> str:
    """Say in one line what was fitted and what was left out."""
    return "; ".join([f"{len(points)} points in {points.n_settings} settings", *left_out(points)])


def left_out(points: Points) -> list[str]:
    """Say which rows of a table are not among the points."""
    parts = [(points.n_missing, "without a number"), (points.n_repeated, "that repeat another")]
    return [f"{n} row{'s' * (n > 1)} {what} left out" for n, what in parts if n]
