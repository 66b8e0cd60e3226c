"""First route to the optimum: descents from many starts, on all parameters at once."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from palimpsest.core.laws.form import Array, evaluate, internal
from palimpsest.core.laws.solver import Problem, solve

MOST_STARTS = 64
FEW_STARTS = 8  # beside parameters that fit most of the points already
SAME_OPTIMUM = 1e-6  # relative difference of objectives


class Descents(NamedTuple):
    """Where all starts end (R, K), the best of them (K,), its objective, the share that agrees."""

    ends: Array
    theta: Array
    objective: float
    share: float


def many_starts(problem: Problem, starts: Array) -> Descents:
    """Descend from all starts (R, K)."""
    theta, objective = solve(problem, starts)
    best = int(np.argmin(objective))
    near = objective <= objective[best] + SAME_OPTIMUM * max(objective[best], floor(problem))
    return Descents(theta, theta[best], float(objective[best]), float(np.mean(near)))


def starting_values(problem: Problem, *, seed: int, most: int = MOST_STARTS) -> Array:
    """Return starts (R, K): combinations of the law's values, linear parameters fitted to them."""
    law = problem.law
    values = [internal(free, np.array(free.starts), problem.x) for free in law.free]
    grid = np.array(list(itertools.product(*values))) if values else np.empty((1, 0))
    if len(grid) > most:
        chosen = np.random.default_rng(seed).choice(len(grid), most, replace=False)
        grid = grid[np.sort(chosen)]
    return with_linear(problem, grid)


def with_linear(problem: Problem, free_RP: Array) -> Array:
    """Complete free parameters by the linear ones that fit best in plain least squares."""
    law = problem.law
    n_linear = len(law.linear)
    theta = np.concatenate([np.ones((len(free_RP), n_linear)), free_RP], axis=1)
    _, jacobian = evaluate(law, theta, problem.x)
    logs = law.compare == "log" and law.link == "identity"
    target = np.exp(problem.z) if logs else problem.z
    weight = 1 / (target * problem.sigma) if logs else 1 / problem.sigma
    design = jacobian[:, :, :n_linear] * weight[:, None]
    unit = np.linalg.norm(design, axis=1, keepdims=True)
    unit = np.where(unit > 0, unit, 1.0)
    solution = np.linalg.pinv(design / unit) @ (target * weight)[:, None]
    theta[:, :n_linear] = solution[:, :, 0] / unit[:, 0, :]
    return theta


def floor(problem: Problem) -> float:
    """Return the objective below which differences mean nothing: 1e-9 of a constant's."""
    spread = (problem.z - np.median(problem.z)) / problem.sigma
    size = np.abs(spread)
    delta = problem.delta
    loss = np.where(size <= delta, 0.5 * spread**2, delta * (size - 0.5 * delta))
    return 1e-9 * float(np.sum(loss)) + 1e-30
