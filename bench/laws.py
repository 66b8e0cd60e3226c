"""How fast is a fit? Prints seconds of one fit by both routes and of 4,000 resamples.

Run from the project's root: python bench/laws.py [chinchilla_points.csv]
The table's columns are "Model Size", "Training FLOP" and loss; without one, 240 points are drawn
from a known law.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from palimpsest.core.laws import load
from palimpsest.core.laws.fitting import Fit, fit
from palimpsest.core.laws.form import predict
from palimpsest.core.laws.intervals import bootstrap, interval
from palimpsest.core.laws.points import Points, gather

LAW = load("chinchilla")
COLUMNS = {"N": "Model Size", "D": "D", "L": "loss"}
OUTLIERS = 5  # the highest losses, dropped as in Besiroglu 2404.10102
TRUTH = np.array([[1.8172, 480.0, 2100.0, 0.3478, 0.3658]])


def main() -> None:
    """Measure on the published points where they are given, else on drawn ones."""
    points = published(Path(sys.argv[1])) if len(sys.argv) > 1 else drawn()
    fitted, seconds = timed(lambda: fit(LAW, points))
    print(f"one fit by both routes, {len(points)} points: {seconds:.2f} s")
    print(f"  objective {fitted.objective:.10g}, {told(fitted)}")
    print(f"  second route {fitted.routes['projection']['objective']:.10g}")
    draws, seconds = timed(lambda: bootstrap(fitted, points, n_draws=4000, seed=0))
    low, high = interval(draws.theta, confidence=0.95)
    print(f"{len(draws.theta)} resamples: {seconds:.1f} s")
    for k, name in enumerate(LAW.parameters):
        print(f"  {name}: {low[k]:.4g} … {high[k]:.4g}")


def published(path: Path) -> Points:
    """Return the points of a table with the tokens D = C / 6N."""
    frame = pd.read_csv(path)
    frame["D"] = frame["Training FLOP"] / (6 * frame["Model Size"])
    return gather(frame.sort_values("loss").iloc[:-OUTLIERS], LAW, COLUMNS)


def drawn() -> Points:
    """Return 240 points of a known law with noise of 1 % and heavy tails."""
    random = np.random.default_rng(0)
    size, tokens = np.exp(random.uniform(np.log([5e7, 3e8]), np.log([1e10, 4e11]), (240, 2))).T
    x = {"N": size, "D": tokens}
    loss = predict(LAW, TRUTH, x)[0] * np.exp(0.01 * random.standard_t(3, 240))
    return Points(x, loss, run=None, cell=np.arange(240))


def timed(work):
    """Return what a call returns, and its seconds."""
    started = time.monotonic()
    return work(), time.monotonic() - started


def told(fitted: Fit) -> str:
    """Write the parameters."""
    return ", ".join(f"{name} {value:.6g}" for name, value in fitted.parameters.items())


if __name__ == "__main__":
    main()
