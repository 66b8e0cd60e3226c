"""Studies drawn from known laws in the full study's design, and how often intervals hold the truth.

The design is read from studies/full.yaml: sizes, mixed ratios, decreases, rates, checkpoints and
seeds. What is asked are predictions inside it and the answers derived from them, never parameters.
A drawn study is fitted by what the fits stage calls; where that would refuse, nothing is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

from palimpsest import params as P
from palimpsest.core import pareto
from palimpsest.core.checkpoints import log_spaced
from palimpsest.core.laws import load
from palimpsest.core.laws.fitting import fit, problem_of
from palimpsest.core.laws.form import evaluate, predict
from palimpsest.core.laws.intervals import Noise, interval, replicate_noise
from palimpsest.core.laws.points import Points
from palimpsest.core.laws.solver import residuals
from palimpsest.core.laws.summary import drawn
from palimpsest.core.laws.validation import misses_points
from palimpsest.experiments import Run, runs

N_SETS = 200
N_DRAWS = 200
FULL = Path(__file__).resolve().parents[1] / "studies" / "full.yaml"
SIZES = {"neox-25k": 25e3, "neox-100k": 1e5, "neox-336k": 336e3, "neox-793k": 793e3}
RATES = {"ln_c": -0.03, "kappa": 0.31, "nu": 1.11}  # as the default study's probes were fitted
SWEEPS = ("replay", "strong", "fixed")  # of the full study: policies crossed with replay ratios
SHARED = 0.9  # of a run's noise is common to its points; with OWN its variance is 1
OWN = float(np.sqrt(1 - SHARED**2))


@dataclass(frozen=True)
class Case:
    """A law with its truth, and the design over which it is seen.

    `design` gives one row per setting and place along the run: the law's inputs, and `cell` that
    numbers the setting. `pooled` is the number of settings whose seeds tell the noise, where they
    are more than those of one fit.
    """

    law: str
    truth: dict[str, float]
    design: Callable[[], pd.DataFrame]
    asked: dict[str, tuple[float, ...]]
    noise: float
    tolerance: float = 0.0
    pooled: int = 0


@cache
def full() -> P.Params:
    return P.load(FULL)


@cache
def mixed() -> tuple[Run, ...]:
    """Return the full study's first seed of every run that crosses a rate with a ratio below 1."""
    found = [run for run in runs(full()) if run.experiment in SWEEPS and run.seed == 0]
    return tuple(run for run in found if ratio(run) < 1)


def ratio(run: Run) -> float:
    return float(run.trainings[0].replay_fraction)


def over_sizes() -> pd.DataFrame:
    """The bases: one setting per size."""
    return pd.DataFrame({"x": list(SIZES.values()), "cell": range(len(SIZES))})


def over_ratios() -> pd.DataFrame:
    """The runs of one size under one policy."""
    ratios = sorted({ratio(run) for run in mixed()})
    return pd.DataFrame({"p": ratios, "cell": range(len(ratios))})


def over_decreases() -> pd.DataFrame:
    """The probes of all bases: each finds the rate of every decrease."""
    asked = [f for f in full().probe.decreases if f > 0]
    rows = [(N, f, cell) for cell, N in enumerate(SIZES.values()) for f in asked]
    return pd.DataFrame(rows, columns=["N", "f", "cell"])


def along_runs() -> pd.DataFrame:
    """The checkpoints of all runs, over the sum of their learning rates."""
    rows = [(*point, cell) for cell, run in enumerate(mixed()) for point in course(run)]
    return pd.DataFrame(rows, columns=["S", "p", "N", "cell"])


def course(run: Run) -> Iterator[tuple[float, float, float]]:
    stream, policy = run.trainings[0].stream, run.trainings[0].policy
    rate = policy.get("learning_rate") or held_rate(SIZES[run.model], policy["decrease"])
    n_steps = stream["n_new_tokens"] // stream["batch_tokens"]
    assert full().phase["checkpoints"]["kind"] == "log"
    for step in log_spaced(n_steps=n_steps, count=full().phase["checkpoints"]["count"]):
        yield rate * step, ratio(run), SIZES[run.model]


def held_rate(n_params: float, decrease: float) -> float:
    """Return the rate that a probe finds for a decrease, by the law of the measured ones."""
    return float(np.exp(RATES["ln_c"]) * n_params ** -RATES["kappa"] * decrease ** RATES["nu"])


CASES = [
    Case(
        law="power",
        truth={"E": 2.6, "A": 11.0, "alpha": 0.17},
        design=over_sizes,
        asked={"x": (25e3, 5e4, 2e5, 6e5)},
        noise=0.004,
    ),
    Case(
        law="replay-share",
        truth={"F_inf": -0.1, "F_0": 0.9, "a": 0.5, "B": 40.0},
        design=over_ratios,
        asked={"p": (0.0, 0.05, 0.15, 0.6)},
        noise=0.01,
        tolerance=0.1,
        pooled=20,
    ),
    Case(
        law="decrease-lr",
        truth=RATES,
        design=over_decreases,
        asked={"N": (5e4, 2e5, 7e5), "f": (0.02, 0.05, 0.08)},
        noise=0.08,
    ),
    Case(
        law="joint",
        truth={"B": 2.0, "G": 0.4, "E": 60.0, "beta": 0.6, "B_p": 20.0, "a": 0.5, "g": 0.08}
        | {"h": 0.6},
        design=along_runs,
        asked={
            "S": (0.01, 0.15, 0.03, 0.02),
            "p": (0.0, 0.0, 0.2, 0.6),
            "N": (5e4, 7e5, 3e5, 7e5),
        },
        noise=0.012,
    ),
]


def asked_names(case: Case) -> list[str]:
    """Return in words what `study_holds` tells, in its order."""
    points = zip(*case.asked.values(), strict=True)
    names = [", ".join(f"{k}={v:g}" for k, v in zip(case.asked, at, strict=True)) for at in points]
    return names + (["critical ratio"] if case.tolerance else [])


def coverage(case: Case, *, seeds: range = range(N_SETS)) -> tuple[np.ndarray, float]:
    """Return the share of intervals that hold the truth, per quantity, and the share refused."""
    found = [study_holds(case, seed) for seed in seeds]
    told = [held for held in found if held is not None]
    return np.mean(told, axis=0), 1 - len(told) / len(found)


def study_holds(case: Case, seed: int) -> np.ndarray | None:
    """Return which intervals of one study hold the truth; None where its fit is refused."""
    law, random = load(case.law), np.random.default_rng(seed)
    points = draw_study(case, random)
    noise = told_noise(case, points, random)
    fitted = fit(law, points, noise=noise.sigma, seed=0)
    draws = drawn(fitted, points, noise=noise, n_draws=N_DRAWS, seed=seed)
    if not draws.decided or misses_points(fitted, points, noise=noise):
        return None
    asked = {name: np.array(values) for name, values in case.asked.items()}
    exact = predict(law, theta_of(case), asked)[0]
    low, high = draws.band(law, asked, confidence=0.95)
    held = (low <= exact) & (exact <= high)
    if not case.tolerance:
        return held
    (true,), found = (critical(case, theta) for theta in (theta_of(case), draws.theta))
    ends = interval(found, confidence=0.95)
    return np.append(held, ends[0] <= true <= ends[1])


def ideal(case: Case, *, seeds: range = range(N_SETS)) -> np.ndarray:
    """Return the share of the same studies' predictions that lie in the exact interval (m,).

    Least squares, linear about the truth, with the noise's true size and correlation: a study
    that this interval misses was drawn far out, whatever an interval is made of.
    """
    law, theta = load(case.law), theta_of(case)
    points = draw_study(case, np.random.default_rng(seeds[0]))
    jacobian_nK = residuals(problem_of(law, points, noise=1.0), theta)[1][0]
    asked = {name: np.array(values) for name, values in case.asked.items()}
    weights_mn = evaluate(law, theta, asked)[1][0] @ np.linalg.pinv(jacobian_nK)
    spread_m = np.sqrt(np.einsum("mi,ij,mj->m", weights_mn, correlation(points), weights_mn))
    away = [weights_mn @ kicks(case, seed) / spread_m for seed in seeds]
    return np.asarray(np.mean(np.abs(away) <= norm.ppf(0.975), axis=0))


def kicks(case: Case, seed: int) -> np.ndarray:
    """Return how far a drawn study's points lie from the truth, in units of the noise."""
    law, points = load(case.law), draw_study(case, np.random.default_rng(seed))
    return -residuals(problem_of(law, points, noise=1.0), theta_of(case))[0][0] / case.noise


def correlation(points: Points) -> np.ndarray:
    """Return how the noise of points goes together: SHARED squared within a run."""
    assert points.run is not None
    together = np.where(points.run[:, None] == points.run, SHARED**2, 0.0)
    np.fill_diagonal(together, 1.0)
    return together


def critical(case: Case, theta: np.ndarray) -> np.ndarray:
    grid = np.linspace(0, case.design()["p"].max(), 400)
    curves = predict(load(case.law), theta, {"p": grid})
    return pareto.critical_ratio(grid, curves, tolerance=case.tolerance)


def told_noise(case: Case, points: Points, random: np.random.Generator) -> Noise:
    """Return the noise as the study tells it: of these settings, or of all of the same policy."""
    noise = replicate_noise(points, load(case.law))
    assert noise is not None
    n_more = 2 * case.pooled - noise.n_free
    if n_more <= 0:
        return noise
    others = case.noise**2 * random.chisquare(n_more)
    n_free = noise.n_free + n_more
    return Noise(float(np.sqrt((noise.sigma**2 * noise.n_free + others) / n_free)), n_free)


def theta_of(case: Case) -> np.ndarray:
    law = load(case.law)
    logs = {free.name for free in law.free if free.scale}
    values = [
        np.log(case.truth[name]) if name in logs else case.truth[name] for name in law.parameters
    ]
    return np.array([values])


def draw_study(case: Case, random: np.random.Generator) -> Points:
    """Draw each setting with the study's seeds; a run's points share most of its noise."""
    law, places = load(case.law), case.design()
    n_seeds = len({run.seed for run in runs(full())})
    cell = np.tile(places.pop("cell").to_numpy(), n_seeds)
    x = {name: np.tile(places[name].to_numpy(dtype=float), n_seeds) for name in places}
    run = cell * n_seeds + np.repeat(np.arange(n_seeds), len(places))
    one_each = len(np.unique(run)) == len(run)
    kicks = random.standard_normal(run.max() + 1)[run]
    if not one_each:
        kicks = SHARED * kicks + OWN * random.standard_normal(len(run))
    exact = predict(law, theta_of(case), x)[0]
    y = exact * np.exp(case.noise * kicks) if law.compare == "log" else exact + case.noise * kicks
    return Points(x=x, y=y, run=run, cell=cell)
