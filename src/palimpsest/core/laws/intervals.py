"""Turns a fit into parameter sets drawn as if the study had been run again.

The design (sizes, ratios, rates) is never resampled. How the draws are made depends on what the
points are: seeds within settings, whole runs, or independent points (`method_of`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from palimpsest.core.laws.fitting import Fit, problem_of
from palimpsest.core.laws.form import Array, Law, predict
from palimpsest.core.laws.points import Points
from palimpsest.core.laws.solver import solve

LEAST_SEEDS = 3
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Noise:
    """How far runs of one setting lie apart: standard deviation and degrees of freedom."""

    sigma: float
    n_free: int


@dataclass(frozen=True)
class Draws:
    """Parameter sets (R, K) of a bootstrap; without any, `reason` says why."""

    theta: Array
    method: str
    reason: str = ""

    @property
    def decided(self) -> bool:
        """Whether there are draws to take intervals from."""
        return len(self.theta) > 0

    def band(self, law: Law, x: dict[str, Array], *, confidence: float) -> tuple[Array, Array]:
        """Return the lower and upper end (m,) of the prediction's interval."""
        return interval(predict(law, self.theta, x), confidence=confidence)


def interval(values_R: Array, *, confidence: float) -> tuple[Array, Array]:
    """Return the central interval of draws along the first axis."""
    ends = np.quantile(values_R, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return ends[0], ends[1]


def replicate_noise(points: Points, law: Law) -> Noise | None:
    """Estimate a run's noise from settings that were run more than once; None without any.

    A run of many points counts as one replicate: its points' variances are averaged. Copies are
    no replicates: where all seeds agree to the last bit there is no noise to be known.
    """
    if points.run is None:
        return None
    z = np.log(points.y) if law.compare == "log" else points.y
    total, n_free = 0.0, 0
    for cell in np.unique(points.cell):
        table = replicates(points, z, cell=cell)
        if len(table) < 2:
            continue
        away = table - table[0]  # so that copies lie apart by exactly nothing
        total += float(np.sum(np.mean((away - away.mean(axis=0)) ** 2, axis=1)))
        n_free += len(table) - 1
    return Noise(float(np.sqrt(total / n_free)), n_free) if n_free and total > 0 else None


def replicates(points: Points, z: Array, *, cell: int) -> Array:
    """Return the runs of a setting as rows, cut to the number of points all of them have."""
    assert points.run is not None
    here = points.cell == cell
    runs = [z[here & (points.run == run)] for run in np.unique(points.run[here])]
    shortest = min(len(run) for run in runs)
    return np.array([run[:shortest] for run in runs])


def method_of(points: Points, noise: Noise | None) -> str:
    """Choose how to resample: "points", "seeds", "runs", or "" where nothing is honest."""
    if points.run is None:
        return "points"
    if noise is None:
        return ""
    return "seeds" if seeds_per_cell(points).min() >= LEAST_SEEDS else "runs"


def seeds_per_cell(points: Points) -> Array:
    """Return how many runs each setting has."""
    assert points.run is not None
    pairs = np.unique(np.column_stack([points.cell, points.run]), axis=0)
    return np.asarray(np.unique(pairs[:, 0], return_counts=True)[1])


def why_undecided(points: Points) -> str:
    """Say why there is no interval: nothing was repeated, or the repetitions are copies."""
    if seeds_per_cell(points).max(initial=0) < 2:
        return "no setting was run with a second seed: no interval"
    return "no setting has seeds that differ: no interval"


def bootstrap(
    fit: Fit, points: Points, *, noise: Noise | None = None, n_draws: int, seed: int
) -> Draws:
    """Fit again `n_draws` times to data drawn as the design allows; needs a fitted law.

    `noise` may come from settings outside these points; else their own replicates are taken.
    """
    noise = noise or replicate_noise(points, fit.law)
    method = method_of(points, noise)
    none = np.empty((0, len(fit.theta)))
    if not method:
        return Draws(none, "none", why_undecided(points))
    problem = problem_of(fit.law, points, noise=fit.noise)
    random = np.random.default_rng(seed)
    if method == "points":
        counts = random.multinomial(len(points), np.full(len(points), 1 / len(points)), n_draws)
        problem = replace(problem, weights=counts.astype(float))
    elif method == "seeds" and noise is not None:
        moved = seeds_within_cells(points, problem.z, noise, n_draws, random)
        problem = replace(problem, z=moved)
    elif noise is not None:
        fitted = problem.z + fit.residuals * problem.sigma
        moves = whole_runs(points, fit.residuals, noise, n_draws, random)
        problem = replace(problem, z=fitted + moves)
    start = np.repeat(fit.theta[None], n_draws, axis=0)
    theta, objective = solve(problem, start, tolerance=TOLERANCE, n_steps=200)
    return Draws(theta[np.isfinite(objective)], method)


def seeds_within_cells(
    points: Points, z: Array, noise: Noise, n_draws: int, random: np.random.Generator
) -> Array:
    """Draw whole runs anew within each setting, (R, n), at the noise that all settings share.

    A drawn run is its setting's mean plus seeds' deviations, each with a random weight: picking
    one of three seeds would be as right on average, but three values in a heap bend a robust fit.
    Three seeds also say little about how their points move together: the deviations are those of
    all settings, and their size is drawn with its uncertainty.
    """
    assert points.run is not None
    drawn = np.repeat(z[None], n_draws, axis=0)
    size_R1 = uncertain(noise, n_draws, random)[:, None]
    cells = {int(cell): replicates(points, z, cell=cell) for cell in np.unique(points.cell)}
    away = deviations(list(cells.values()))
    for cell, table_sp in cells.items():
        n_places = table_sp.shape[1]
        here = points.cell == cell
        for run in np.unique(points.run[here]):
            rows = np.flatnonzero(here & (points.run == run))[:n_places]
            weights_Rd = random.standard_normal((n_draws, len(away[n_places])))
            drawn[:, rows] = table_sp.mean(axis=0) + size_R1 * (weights_Rd @ away[n_places])
    return drawn


def deviations(tables: list[Array]) -> dict[int, Array]:
    """Return the seeds' deviations (d, p) of all settings with p places, by p, at a size of 1.

    Weighted by independent numbers of variance 1, their sum has a mean square of 1.
    """
    found: dict[int, Array] = {}
    for n_places in {table.shape[1] for table in tables}:
        alike = [table for table in tables if table.shape[1] == n_places]
        away_dp = np.concatenate([table - table.mean(axis=0) for table in alike])
        size = float(np.linalg.norm(away_dp) / np.sqrt(n_places))
        found[n_places] = away_dp / max(size, 1e-300)
    return found


def uncertain(noise: Noise, n_draws: int, random: np.random.Generator) -> Array:
    """Draw the size of the noise (R,) as uncertain as its degrees of freedom leave it."""
    return noise.sigma * np.sqrt(noise.n_free / random.chisquare(noise.n_free, n_draws))


def whole_runs(
    points: Points,
    residual: Array,
    noise: Noise,
    n_draws: int,
    random: np.random.Generator,
) -> Array:
    """Draw the noise of each run anew, (R, n): its own residual shape at the replicates' size.

    The size itself is uncertain by its few degrees of freedom, so it is drawn too.
    """
    assert points.run is not None
    shape = np.empty(len(residual))
    for run in np.unique(points.run):
        rows = points.run == run
        size = float(np.sqrt(np.mean(residual[rows] ** 2)))
        shape[rows] = residual[rows] / size if size > 0 else 1.0
    kicks_Rr = random.standard_normal((n_draws, int(points.run.max()) + 1))
    size_R1 = uncertain(noise, n_draws, random)[:, None]
    return np.asarray(size_R1 * kicks_Rr[:, points.run] * shape)
