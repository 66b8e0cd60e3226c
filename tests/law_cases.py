"""Known parameters and a design that identifies them, for every law."""

from __future__ import annotations

import itertools

import numpy as np

from palimpsest.core.laws.annealing import annealing_area
from palimpsest.core.laws.form import Law

SIZES = (25e3, 1e5, 336e3, 793e3, 2e6)
RATIOS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75)
CLOCK = (1e-3, 2e-3, 4e-3, 8e-3, 16e-3, 32e-3, 64e-3)
BIG = (1e8, 3e8, 1e9, 3e9, 1e10)

Inputs = dict[str, np.ndarray]


def grid(**levels: tuple[float, ...]) -> Inputs:
    """Return all combinations of the levels, one array per input."""
    points = np.array(list(itertools.product(*levels.values())), dtype=float)
    return dict(zip(levels, points.T, strict=True))


def schedules() -> Inputs:
    """Return S, S2 and p along runs with constant and falling rates."""
    step = np.arange(200)
    shapes = (np.ones(200), 0.5 * (1 + np.cos(np.pi * step / 200)), 1 - step / 250)
    runs = [
        np.stack([np.cumsum(rate), annealing_area(rate), np.full(200, ratio)])[:, ::12]
        for shape in shapes
        for rate in (1e-3 * shape, 3e-3 * shape)
        for ratio in (0.0, 0.25, 0.5)
    ]
    return dict(zip(("S", "S2", "p"), np.concatenate(runs, axis=1), strict=True))


def theta_of(law: Law, truth: dict[str, float]) -> np.ndarray:
    """Return internal parameters (1, K): scales as logarithms."""
    logs = {free.name for free in law.free if free.scale}
    return np.array([[np.log(truth[n]) if n in logs else truth[n] for n in law.parameters]])


CHINCHILLA = {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
SHARE = {"F_inf": -0.1, "F_0": 1.2, "a": 0.5, "B": 60.0}
CASES: dict[str, tuple[Inputs, dict[str, float]]] = {
    "constant": ({"x": np.arange(4.0)}, {"a": 2.0}),
    "log-linear": (grid(t=CLOCK, p=RATIOS), {"a": 1.0, "b_t": 0.3, "b_p": -0.2}),
    "power": (grid(x=SIZES), {"E": 2.0, "A": 12.0, "alpha": 0.2}),
    "chinchilla": (grid(N=BIG, D=(1e9, 3e9, 1e10, 1e11)), CHINCHILLA),
    "repeated-data": (
        grid(N=BIG, U=(1e8, 1e9, 1e10), R=(0, 1, 3, 10, 40)),
        CHINCHILLA | {"R_star": 15.0},
    ),
    "injection": (
        grid(T=(1e6, 3e6, 1e7, 3e7), p=RATIOS, N=SIZES),
        {"A": 2.0, "offset": -0.05, "beta": 0.4, "alpha": 0.5, "B": 90.0},
    ),
    "replay-share": (grid(p=RATIOS), SHARE),
    "replay-exponential": (grid(p=RATIOS), {"F_0": 1.2, "k": 6.0}),
    "replay-line": (grid(p=RATIOS), {"a": 0.8, "b": -0.1}),
    "replay-size": (grid(p=RATIOS, N=SIZES), SHARE | {"g": 0.07}),
    "d-cpt": (
        grid(N=SIZES, T=(1e6, 3e6, 1e7, 3e7), q=(0.1, 0.25, 0.5, 0.75, 1.0)),
        {"E": 2.0, "A": 12.0, "B": 300.0, "C": 0.1}
        | {"alpha": 0.3, "eta": 0.5, "beta": 0.4, "gamma": 0.7},
    ),
    "cmr": (grid(q=(0.1, 0.25, 0.5, 0.75, 0.9, 1.0)), {"a": -0.5, "b": 3.0, "s": 0.4}),
    "cmr-critical": (
        grid(T=(1e6, 3e6, 1e7, 3e7, 1e8)),
        {"a_4": 2.0, "b_3": 0.1, "s_4": -0.1},
    ),
    "cpt-dynamics": (
        schedules(),
        {"L_0": 3.0, "A": 0.3, "C": 0.5, "B": 0.4}
        | {"alpha": 0.5, "S_pt": 0.3, "E": 20.0, "beta": 0.7, "k": 1.5},
    ),
    "forgetting-line": (grid(L_new=(3.0, 3.2, 3.5, 3.9)), {"s": 5.0, "c": 0.4}),
    "decrease-lr": (
        grid(N=SIZES, f=(0.01, 0.05, 0.1)),
        {"ln_c": -2.0, "kappa": 0.25, "nu": 0.8},
    ),
    "joint": (
        grid(S=CLOCK, p=RATIOS, N=SIZES[:4]),
        {"B": 2.0, "G": 0.8, "E": 200.0, "beta": 0.6}
        | {"B_p": 40.0, "a": 0.5, "g": 0.06, "h": 0.7},
    ),
}
