"""Second route to the optimum: variable projection.

With the free parameters held, the linear ones have one best answer; the search then runs over the
free parameters alone, by L-BFGS with the exact slope of the projected objective.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.stats import qmc

from palimpsest.core.laws.form import Array
from palimpsest.core.laws.solver import Problem, quadratic, solve
from palimpsest.core.laws.starts import SAME_OPTIMUM, floor, with_linear

N_SEARCHES = 16
N_DRAWS = 16
MOST_RESTARTS = 6  # L-BFGS forgets its curvature and goes on where a valley bends


def projected(problem: Problem, *, aim: float, seed: int) -> tuple[Array, float]:
    """Return the best parameters (K,) and their objective by search over the free ones.

    Searches start from scattered candidates, one after the other, and end once one comes as low
    as `aim`, which another route has reached, or lower.
    """
    n_linear = len(problem.law.linear)
    inner = replace(problem, held=np.arange(len(problem.low)) >= n_linear)
    if not problem.law.free:
        return whitened(problem)
    wide = softened(inner)
    best, lowest = problem.low, np.inf
    for candidate in scattered(wide, seed=seed):
        start = candidate if wide is inner else search(wide, candidate)[0]
        theta, objective = search(inner, start)
        if objective < lowest:
            best, lowest = theta, objective
        if lowest <= aim + SAME_OPTIMUM * max(aim, floor(inner)):
            break
    return best, lowest


def scattered(inner: Problem, *, seed: int) -> list[Array]:
    """Return parameter sets to search from: the best of each of several draws from the box."""
    n_linear = len(inner.law.linear)
    low, high = inner.low[n_linear:], inner.high[n_linear:]
    points = qmc.Sobol(len(low), rng=np.random.default_rng(seed)).random(N_DRAWS * N_SEARCHES)
    candidates = low + (0.02 + 0.96 * points) * (high - low)
    theta, objective = solve(inner, with_linear(inner, candidates), tolerance=1e-6)
    blocks = objective.reshape(N_SEARCHES, N_DRAWS)
    chosen = np.argmin(blocks, axis=1) + N_DRAWS * np.arange(N_SEARCHES)
    chosen = chosen[np.argsort(objective[chosen])]
    return [theta[k] for k in chosen if np.isfinite(objective[k])]


def softened(problem: Problem) -> Problem:
    """Return the problem with noise as large as the spread of y: nearly least squares, smooth."""
    if not problem.law.noise_scaled:
        return problem
    spread = max(float(np.std(problem.z)), float(problem.sigma.max()))
    return replace(problem, sigma=np.full(len(problem.sigma), spread))


def search(inner: Problem, theta: Array) -> tuple[Array, float]:
    """Minimise the projected objective from one parameter set; the box is scaled to 0..1."""
    n_linear = len(inner.law.linear)
    low, width = inner.low[n_linear:], (inner.high - inner.low)[n_linear:]
    scale = 1e-9 / floor(inner)

    def value(unit_P: Any) -> tuple[float, Array]:
        best, objective = project(inner, low + unit_P * width, theta[:n_linear])
        if not np.isfinite(objective):
            return 1e6, np.zeros(len(unit_P))
        slope = quadratic(inner, best[None]).gradient[0, n_linear:]
        return objective * scale, slope * width * scale

    place, lowest = np.clip((theta[n_linear:] - low) / width, 0, 1), np.inf
    options: Any = {"ftol": 1e-15, "gtol": 1e-11, "maxiter": 500}
    box = [(0, 1)] * len(low)
    for _ in range(MOST_RESTARTS):
        found = minimize(value, x0=place, jac=True, method="L-BFGS-B", bounds=box, options=options)
        place = found.x
        if found.fun >= lowest * (1 - 1e-9):
            break
        lowest = float(found.fun)
    return project(inner, low + place * width, theta[:n_linear])


def project(inner: Problem, free_P: Array, linear_J: Array) -> tuple[Array, float]:
    """Return the best parameters with the free ones held, from two starts of the linear ones."""
    guess = np.concatenate([linear_J, free_P])
    starts = np.stack([with_linear(inner, free_P[None])[0], guess])
    theta, objective = solve(inner, starts)
    best = int(np.argmin(objective))
    return theta[best], float(objective[best])


def whitened(problem: Problem) -> tuple[Array, float]:
    """Fit a law without free parameters by L-BFGS on an orthonormal basis of its terms."""
    start = with_linear(problem, np.empty((1, 0)))
    unit = np.linalg.cholesky(np.linalg.inv(quadratic(problem, start).safe[0] + 0.0))
    scale = 1 / floor(problem) * 1e-9

    def value(z: Any) -> tuple[float, Array]:
        model = quadratic(problem, start + z @ unit.T)
        return float(model.objective[0]) * scale, unit.T @ model.gradient[0] * scale

    options: Any = {"ftol": 1e-15, "gtol": 1e-12, "maxiter": 500}
    zero = np.zeros(len(unit))
    found = minimize(value, zero, jac=True, method="L-BFGS-B", options=options)
    return (start + found.x @ unit.T)[0], float(found.fun) / scale
