"""Minimises Huber's loss for many parameter sets at once by damped Newton steps.

Shapes: R problems solved side by side, n points, K parameters. All share the inputs; targets and
weights of the points may differ, which makes a bootstrap one call.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from palimpsest.core.laws.form import Array, Law, evaluate

CHUNK = 128  # problems per block: their Jacobians stay in the processor's cache
LARGEST_DAMPING = 1e12


@dataclass(frozen=True)
class Problem:
    """A law, its inputs and the target on the scale on which it is compared (z = y or ln y).

    z: (n,) or (R, n). sigma: noise per point (n,). weights: how often each point counts, (R, n).
    Parameters stay in low..high (K,); those of `held` (K,) keep their starting value.
    """

    law: Law
    x: dict[str, Array]
    z: Array
    sigma: Array
    delta: float
    low: Array
    high: Array
    held: Array
    weights: Array | None = None

    def part(self, rows: Array) -> Problem:
        """Return the problem of some of the R parameter sets."""
        z = self.z[rows] if self.z.ndim == 2 else self.z
        weights = None if self.weights is None else self.weights[rows]
        return replace(self, z=z, weights=weights)


class Model(NamedTuple):
    """Objective (R,), gradient (R, K) and two curvatures (R, K, K): Newton's and the safe one."""

    objective: Array
    gradient: Array
    newton: Array
    safe: Array


def solve(
    problem: Problem, start_RK: Array, *, tolerance: float = 1e-13, n_steps: int = 300
) -> tuple[Array, Array]:
    """Return the parameters (R, K) and objectives (R,) at which the descent from the starts ends.

    A start whose predictions are impossible (a negative loss) keeps the objective infinity.
    """
    theta = np.clip(start_RK, problem.low, problem.high)
    objective = np.empty(len(theta))
    for first in range(0, len(theta), CHUNK):
        rows = np.arange(first, min(first + CHUNK, len(theta)))
        theta[rows], objective[rows] = solve_block(
            problem.part(rows), theta[rows], tolerance=tolerance, n_steps=n_steps
        )
    return theta, objective


def solve_block(
    problem: Problem, theta: Array, *, tolerance: float, n_steps: int
) -> tuple[Array, Array]:
    """Descend from each start until a step promises less than `tolerance` of the objective."""
    theta = theta.copy()
    objective = np.full(len(theta), np.inf)
    active = np.arange(len(theta))
    now, model = theta, quadratic(problem, theta)
    damping = np.ones(len(theta))
    for _ in range(n_steps):
        trial = np.clip(now + damped_step(problem, now, model, damping), problem.low, problem.high)
        there = quadratic(problem, trial)
        better = there.objective < model.objective
        small = better & (there.objective >= (1 - tolerance) * model.objective)
        now = np.where(better[:, None], trial, now)
        model = Model(*(choose(better, new, old) for new, old in zip(there, model, strict=True)))
        stuck = (~better) & (damping >= LARGEST_DAMPING)
        damping = np.where(better, np.maximum(damping / 6, 1e-9), damping * 8)
        done = small | stuck | ~np.isfinite(model.objective)
        if done.any():
            theta[active[done]], objective[active[done]] = now[done], model.objective[done]
            keep = np.flatnonzero(~done)
            active, now, damping = active[keep], now[keep], damping[keep]
            model = Model(*(part[keep] for part in model))
            problem = problem.part(keep)
        if not len(active):
            break
    theta[active], objective[active] = now, model.objective
    return theta, objective


def choose(which: Array, new: Array, old: Array) -> Array:
    """Take `new` in the rows where `which` holds, `old` elsewhere."""
    return np.where(which.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def quadratic(problem: Problem, theta: Array) -> Model:
    """Return the objective and its local model at each parameter set."""
    residual, jacobian, possible = residuals(problem, theta)
    size = np.abs(residual)
    delta = problem.delta
    inside = size <= delta
    counts = 1.0 if problem.weights is None else problem.weights
    loss = np.where(inside, 0.5 * residual**2, delta * (size - 0.5 * delta))
    objective = np.where(possible, np.sum(counts * loss, axis=1), np.inf)
    pull = counts * np.clip(residual, -delta, delta)
    safe_weight = counts * np.where(inside, 1.0, delta / np.maximum(size, delta))
    by_parameter = np.swapaxes(jacobian, 1, 2)
    return Model(
        objective,
        (by_parameter @ pull[:, :, None])[:, :, 0],
        (by_parameter * (counts * inside)[:, None, :]) @ jacobian,
        (by_parameter * safe_weight[:, None, :]) @ jacobian,
    )


def residuals(problem: Problem, theta: Array) -> tuple[Array, Array, Array]:
    """Return residuals (R, n), their Jacobian (R, n, K), and which sets are possible (R,)."""
    value, jacobian = evaluate(problem.law, theta, problem.x)
    possible = np.isfinite(value).all(axis=1)
    if problem.law.compare == "log" and problem.law.link == "identity":
        possible &= (value > 0).all(axis=1)
        positive = np.where(value > 0, value, 1.0)
        value, jacobian = np.log(positive), jacobian / positive[:, :, None]
    residual = (value - problem.z) / problem.sigma
    return residual, jacobian / problem.sigma[:, None], possible


def damped_step(problem: Problem, theta: Array, model: Model, damping: Array) -> Array:
    """Return a step between Newton's (no damping) and a short one along the safe curvature.

    The step lies in units of each parameter's own curvature; parameters held, or pressed against
    their bound, stay.
    """
    safe_diagonal = np.einsum("rkk->rk", model.safe)
    unit = 1 / np.sqrt(np.where(safe_diagonal > 0, safe_diagonal, 1.0))
    scaled_safe = model.safe * unit[:, :, None] * unit[:, None, :]
    curvature = model.newton * unit[:, :, None] * unit[:, None, :]
    n_parameters = theta.shape[1]
    eye = np.eye(n_parameters)
    curvature = curvature + damping[:, None, None] * (scaled_safe + eye) + 1e-13 * eye
    slope = model.gradient * unit
    pressed = (theta <= problem.low) & (slope > 0) | (theta >= problem.high) & (slope < 0)
    moves = ~pressed & ~problem.held
    both = moves[:, :, None] & moves[:, None, :]
    curvature = np.where(both, curvature, eye)
    step = np.linalg.solve(curvature, np.where(moves, -slope, 0.0)[:, :, None])[:, :, 0]
    return step * unit
