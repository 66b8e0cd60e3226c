"""Studies drawn from known laws, and how often 95 % intervals hold what is true in them.

Each study has three seeds per setting, as the full study has. What is asked are predictions
inside the design and the answers derived from them, never parameters.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from palimpsest.core import pareto
from palimpsest.core.laws import load
from palimpsest.core.laws.form import predict
from palimpsest.core.laws.intervals import bootstrap, interval, replicate_noise
from palimpsest.core.laws.points import Points
from palimpsest.core.laws.validation import quick_fit

N_SETS = 200
N_DRAWS = 200
SIZES = (25e3, 1e5, 336e3, 793e3)
RATIOS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Case:
    law: str
    truth: dict[str, float]
    design: dict[str, tuple[float, ...]]
    asked: dict[str, tuple[float, ...]]
    noise: float
    along_run: str = ""
    tolerance: float = 0.0


CASES = [
    Case(
        law="power",
        truth={"E": 2.6, "A": 11.0, "alpha": 0.17},
        design={"x": SIZES},
        asked={"x": (25e3, 5e4, 2e5, 6e5)},
        noise=0.004,
    ),
    Case(
        law="replay-share",
        truth={"F_inf": -0.1, "F_0": 0.9, "a": 0.5, "B": 40.0},
        design={"p": RATIOS},
        asked={"p": (0.0, 0.03, 0.15, 0.6)},
        noise=0.01,
        tolerance=0.1,
    ),
    Case(
        law="decrease-lr",
        truth={"ln_c": -2.0, "kappa": 0.25, "nu": 0.8},
        design={"N": SIZES, "f": (0.01, 0.05, 0.1)},
        asked={"N": (5e4, 2e5, 7e5), "f": (0.02, 0.05, 0.08)},
        noise=0.08,
    ),
    Case(
        law="joint",
        truth={"B": 2.0, "G": 0.4, "E": 60.0, "beta": 0.6, "B_p": 20.0, "a": 0.5, "g": 0.08}
        | {"h": 0.6},
        design={
            "S": (0.002, 0.005, 0.012, 0.03, 0.07, 0.15),
            "p": (0.0, 0.05, 0.25, 0.5, 0.75),
            "N": SIZES,
        },
        asked={"S": (0.01, 0.05, 0.15), "p": (0.0, 0.1, 0.6), "N": (5e4, 3e5, 7e5)},
        noise=0.012,
        along_run="S",
    ),
]


def asked_names(case: Case) -> list[str]:
    """Return in words what `coverage` measures, in its order."""
    points = zip(*case.asked.values(), strict=True)
    names = [", ".join(f"{k}={v:g}" for k, v in zip(case.asked, at, strict=True)) for at in points]
    return names + (["critical ratio"] if case.tolerance else [])


def coverage(case: Case, *, n_sets: int) -> np.ndarray:
    """Return per asked quantity in which share of the studies the interval holds the truth."""
    return np.mean([study_holds(case, seed) for seed in range(n_sets)], axis=0)


def study_holds(case: Case, seed: int) -> np.ndarray:
    law = load(case.law)
    points = draw_study(case, np.random.default_rng(seed))
    noise = replicate_noise(points, law)
    assert noise is not None
    fitted = quick_fit(law, points, noise=noise.sigma)
    draws = bootstrap(fitted, points, n_draws=N_DRAWS, seed=seed)
    asked = {name: np.array(values) for name, values in case.asked.items()}
    truth = theta_of(case)
    low, high = interval(predict(law, draws.theta, asked), confidence=0.95)
    exact = predict(law, truth, asked)[0]
    held = (low <= exact) & (exact <= high)
    if not case.tolerance:
        return held
    grid = np.linspace(0, max(RATIOS), 400)
    solve = [
        pareto.critical_ratio(grid, predict(law, theta, {"p": grid}), tolerance=case.tolerance)
        for theta in (truth, draws.theta)
    ]
    ends = interval(solve[1], confidence=0.95)
    return np.append(held, ends[0] <= solve[0][0] <= ends[1])


def theta_of(case: Case) -> np.ndarray:
    law = load(case.law)
    logs = {free.name for free in law.free if free.scale}
    values = [
        np.log(case.truth[name]) if name in logs else case.truth[name] for name in law.parameters
    ]
    return np.array([values])


def draw_study(case: Case, random: np.random.Generator) -> Points:
    """Draw three runs per setting; a run's points share most of its noise."""
    law = load(case.law)
    names = list(case.design)
    grid = np.array(list(itertools.product(*case.design.values())))
    x = {name: np.tile(grid[:, k], 3) for k, name in enumerate(names)}
    by = [name for name in names if name != case.along_run] or names
    cell = np.unique(np.column_stack([x[name] for name in by]), axis=0, return_inverse=True)[1]
    seed = np.repeat(np.arange(3), len(grid))
    run = np.unique(cell.ravel() * 3 + seed, return_inverse=True)[1].ravel()
    shared = random.standard_normal(run.max() + 1)[run]
    own = random.standard_normal(len(run))
    kicks = case.noise * (shared if not case.along_run else 0.9 * shared + 0.43 * own)
    exact = predict(law, theta_of(case), x)[0]
    y = exact * np.exp(kicks) if law.compare == "log" else exact + kicks
    return Points(x=x, y=y, run=run, cell=cell.ravel())
