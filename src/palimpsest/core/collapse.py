"""One benchmark's items before and after training → how far it collapsed, with a paired error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Items = NDArray[np.float64]

TOLERANCES = {"perplexity": 0.05, "acc": 0.10, "acc_norm": 0.10, "exact_match": 0.10}
NORMAL_97_5 = 1.959963984540054
ERRORS_ABOVE_CHANCE = 4  # an accuracy nearer to chance than this has nothing to lose

Verdict = str  # prevented | collapsed | not decidable | undefined


@dataclass(frozen=True)
class Collapse:
    """How far a benchmark fell, its standard error, 95 % bounds, and what that means."""

    collapse: float
    collapse_stderr: float
    low: float
    high: float
    tolerance: float
    verdict: Verdict


def of_accuracy(base: Items, now: Items, *, chance: float, tolerance: float) -> Collapse:
    """Return (m₀ − m)/(m₀ − chance) from the same items' scores, in the same order.

    Undefined when m₀ − chance is below four standard errors of m₀. The error is the delta method's
    for a ratio, on paired items: sd(base − now − collapse·base)/√n/(m₀ − chance).
    """
    margin = base.mean() - chance
    if not margin >= ERRORS_ABOVE_CHANCE * standard_error(base) or margin <= 0:
        return undefined(tolerance)
    collapse = float((base.mean() - now.mean()) / margin)
    error = standard_error(base - now - collapse * base) / margin
    return judged(collapse, float(error), tolerance)


def of_perplexity(base: Items, now: Items, *, tolerance: float) -> Collapse:
    """Return ln(ppl/ppl₀) from the same items' log-likelihoods in nats, with its paired error."""
    lost = base - now
    return judged(float(lost.mean()), standard_error(lost), tolerance)


def judged(collapse: float, error: float, tolerance: float) -> Collapse:
    """Decide: prevented: the upper bound keeps the tolerance; collapsed: the lower breaks it."""
    if not np.isfinite([collapse, error]).all():
        return undefined(tolerance)
    low, high = collapse - NORMAL_97_5 * error, collapse + NORMAL_97_5 * error
    verdict = "not decidable"
    if high <= tolerance:
        verdict = "prevented"
    elif low > tolerance:
        verdict = "collapsed"
    return Collapse(collapse, error, low, high, tolerance, verdict)


def undefined(tolerance: float) -> Collapse:
    """Return the answer for a benchmark that cannot collapse: it stood no better than chance."""
    nan = float("nan")
    return Collapse(nan, nan, nan, nan, tolerance, "undefined")


def standard_error(values: Items) -> float:
    """Return sd/√n of the mean, NaN for fewer than two values."""
    if len(values) < 2:
        return float("nan")
    return float(values.std(ddof=1) / np.sqrt(len(values)))
