"""Forgetting against lag → an exponential and a power law, the better one by AICc, its half-life.

Both start at 0 and rise (or, with a negative height, fall) towards `height`, half of it at the lag
`half_life`: exponential F = height·(1 − e^(−s/scale)) with scale = half_life/ln 2, power law
F = height·(1 − (1 + s/scale)^(−exponent)) with scale = half_life/(2^(1/exponent) − 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Form = Literal["exponential", "power"]

N_BINS = 30
SMALLEST_CURVE = 6  # AICc of the power law needs more points than its four parameters plus one
N_FREE = {"exponential": 3, "power": 4}  # the size of the scatter counts as one
N_HALF_LIVES = 25
N_EXPONENTS = {"exponential": 1, "power": 13}
# Far beyond either end the forms cannot be told apart.
LOG_EXPONENTS = (float(np.log(0.1)), float(np.log(10.0)))
BEYOND_LAGS = 10.0  # half-lives are sought this far outside the measured lags
N_ZOOMS = 9  # each narrows the grid to a sixth


@dataclass(frozen=True)
class Curve:
    """One form fitted to one lag curve; half_life in the clock's unit, height in nats.

    half_life is NaN where the best one lies at the edge of what was sought: not identified.
    """

    form: Form
    height: float
    half_life: float
    exponent: float
    rss: float
    aicc: float
    n_points: int


def fit_curves(lags: Array, losses: Array) -> list[Curve]:
    """Fit both forms to the mean curve; an empty list when it has too few distinct lags.

    A lag below zero is left out: on the clock of achieved decreases time runs back while the loss
    rises, and neither form says anything of a time before the piece was trained on.
    """
    after = lags >= 0
    lags, means = binned(lags[after], losses[after])
    if len(lags) < SMALLEST_CURVE or lags[-1] <= 0:
        return []
    return [_fit("exponential", lags, means), _fit("power", lags, means)]


def binned(lags: Array, losses: Array) -> tuple[Array, Array]:
    """Average the losses over equal lags, or over at most 30 bins of about equally many points."""
    keep = np.isfinite(lags) & np.isfinite(losses)
    order = np.argsort(lags[keep], kind="stable")
    lags, losses = lags[keep][order], losses[keep][order]
    distinct, group = np.unique(lags, return_inverse=True)
    if len(distinct) > N_BINS:
        group = np.arange(len(lags)) * N_BINS // len(lags)
    counts = np.bincount(group)
    return np.bincount(group, lags) / counts, np.bincount(group, losses) / counts


def _fit(form: Form, lags: Array, means: Array) -> Curve:
    """Search half-life and exponent on a grid that zooms in; the height is linear."""
    shortest = lags[lags > 0].min()
    sought = float(np.log(shortest / BEYOND_LAGS)), float(np.log(lags[-1] * BEYOND_LAGS))
    half_lives = np.linspace(*sought, N_HALF_LIVES)
    exponents = np.linspace(*LOG_EXPONENTS, N_EXPONENTS[form])
    for _ in range(N_ZOOMS):
        heights, rss = _solve(form, lags, means, np.exp(half_lives), np.exp(exponents))
        i, j = np.unravel_index(np.argmin(rss), rss.shape)
        best = float(half_lives[i]), float(exponents[j]), float(heights[i, j]), float(rss[i, j])
        half_lives, exponents = _around(half_lives, int(i)), _around(exponents, int(j))
    inside = sought[0] + 1e-3 < best[0] < sought[1] - 1e-3
    return Curve(
        form=form,
        height=best[2],
        half_life=float(np.exp(best[0])) if inside else float("nan"),
        exponent=float(np.exp(best[1])) if form == "power" else float("nan"),
        rss=best[3],
        aicc=_aicc(best[3], n_points=len(lags), n_free=N_FREE[form]),
        n_points=len(lags),
    )


def _solve(
    form: Form, lags: Array, means: Array, half_lives: Array, exponents: Array
) -> tuple[Array, Array]:
    """Return the best height and its squared residuals' sum, by half-life (rows) and exponent."""
    half, exponent = half_lives[:, None, None], exponents[None, :, None]
    if form == "exponential":
        shape = -np.expm1(-lags * np.log(2) / half)
    else:
        scale = half / np.expm1(np.log(2) / exponent)
        shape = -np.expm1(-exponent * np.log1p(lags / scale))
    heights = (shape @ means) / np.maximum((shape**2).sum(-1), 1e-300)
    residuals = means - heights[..., None] * shape
    return heights, (residuals**2).sum(-1)


def _around(grid: Array, i: int) -> Array:
    """Return a grid of equal size over the two neighbours on either side."""
    return np.linspace(grid[max(i - 2, 0)], grid[min(i + 2, len(grid) - 1)], len(grid))


def _aicc(rss: float, *, n_points: int, n_free: int) -> float:
    likelihood = n_points * np.log(max(rss, 1e-300) / n_points)
    return float(likelihood + 2 * n_free + 2 * n_free * (n_free + 1) / (n_points - n_free - 1))
