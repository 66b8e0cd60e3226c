"""Turns points into errors on data that a law has not seen, beside the two baselines.

A split says which points are left out; every form is fitted to the rest and predicts them. Errors
are in the target's unit, and as a share of the effect: the range of y over all points.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.stats import f as fisher

from palimpsest.core.laws import constant, log_linear
from palimpsest.core.laws.fitting import (
    Fit,
    condition_number,
    descend,
    not_identified,
    too_little,
)
from palimpsest.core.laws.form import Array, Law
from palimpsest.core.laws.intervals import Noise
from palimpsest.core.laws.points import Points
from palimpsest.core.laws.solver import residuals

Row = dict[str, str | int | float]
SURE = 0.975  # how unusual the residuals must be before a law is said to miss its points


def misses_points(fitted: Fit, points: Points, *, noise: Noise | None) -> bool | None:
    """Return whether a fit lies farther from its points than the spread over seeds explains.

    Fisher's F: the residuals' mean square per degree of freedom over the seeds' variance, which
    has few degrees of freedom itself. The points of one run move together, so a run counts once.
    None without replicates, without a fit, or with no more runs than parameters.
    """
    run = np.arange(len(points)) if points.run is None else points.run
    freedom = len(np.unique(run)) - len(fitted.theta)
    if noise is None or not fitted.fitted or freedom <= 0:
        return None
    squares = (fitted.residuals * fitted.noise) ** 2
    per_run = np.bincount(run, squares)[np.unique(run)] / np.bincount(run)[np.unique(run)]
    ratio = float(np.sum(per_run)) / freedom / noise.sigma**2
    return bool(ratio > fisher.ppf(SURE, freedom, noise.n_free))


LARGEST = ("N", "D", "x", "U", "R", "L_new")
EACH = ("p", "q", "eta", "f")
CLOCKS = ("S", "T", "t")


def splits_of(points: Points) -> dict[str, list[Array]]:
    """Return per kind of split the masks of what is left out, for the inputs and groups there are.

    The largest of a size, each ratio or rate in turn, the last half of a clock, each group.
    """
    splits: dict[str, list[Array]] = {}
    for name, values in {**points.x, **points.groups}.items():
        levels = np.unique(values)
        if len(levels) < 2:
            continue
        if name in LARGEST:
            splits[f"largest {name} left out"] = [values == levels[-1]]
        elif name in EACH or name in points.groups:
            splits[f"each {name} left out in turn"] = [values == level for level in levels]
        elif name in CLOCKS:
            splits[f"last half of {name} left out"] = [last_half(points, values)]
    return splits


def last_half(points: Points, clock: Array) -> Array:
    """Mark the points past the middle of their run's clock."""
    run = np.zeros(len(points), dtype=int) if points.run is None else points.run
    middle = np.array([0.5 * clock[run == number].max() for number in range(run.max() + 1)])
    return np.asarray(clock > middle[run])


def held_out(
    law: Law, points: Points, *, noise: float | None = None, near: Array | None = None
) -> list[Row]:
    """Return one row per split and form: its error on what was left out, or why there is none.

    `near` are the law's parameters on all points, from where the fits to most of them start.
    """
    rows: list[Row] = []
    for split, masks in splits_of(points).items():
        for k, form in enumerate(rivals(law, points)):
            start = near if k == 0 else None
            rows.append({"split": split, **score(form, points, masks, noise=noise, near=start)})
    return rows


def rivals(law: Law, points: Points) -> list[Law]:
    """Return the law and the two baselines, each form once."""
    forms = [law, baseline(points, law), flat_line(law)]
    return [form for k, form in enumerate(forms) if k == 0 or form.name != law.name]


def baseline(points: Points, law: Law) -> Law:
    """Return `log-linear` in those inputs that vary and have a logarithm."""
    shares = log_linear.SHARES
    names = [
        name
        for name, values in points.x.items()
        if len(np.unique(values)) > 1 and (name in shares or values.min() > 0)
    ]
    return compared_like(log_linear.over(names), law)


def flat_line(law: Law) -> Law:
    """Return `constant`, compared on the scale of another law."""
    return compared_like(constant.LAW, law)


def compared_like(form: Law, law: Law) -> Law:
    """Let a baseline meet the same target on the same scale of residuals."""
    return replace(
        form,
        target=law.target,
        compare=law.compare,
        link=law.link,
        noise_scaled=law.noise_scaled,
    )


def score(
    form: Law,
    points: Points,
    masks: list[Array],
    *,
    noise: float | None,
    near: Array | None = None,
) -> Row:
    """Return the error of one form over the folds of a split."""
    sizes, reason = errors(form, points, masks, noise=noise, near=near)
    effect = float(np.ptp(points.y))
    known = sizes[np.isfinite(sizes)]
    mean = float(known.mean()) if not reason else float("nan")
    return {
        "form": form.name,
        "error": mean,
        "worst": float(known.max()) if not reason else float("nan"),
        "share_of_effect": mean / effect if effect > 0 else float("nan"),
        "n_left_out": int(sum(mask.sum() for mask in masks)),
        "reason": reason,
    }


def errors(
    form: Law,
    points: Points,
    masks: list[Array],
    *,
    noise: float | None,
    near: Array | None = None,
) -> tuple[Array, str]:
    """Return how far each point (n,) lies from its prediction by a fit that has not seen it.

    NaN for points that no mask leaves out; the reason is not empty where a fold could not be
    fitted.
    """
    sizes = np.full(len(points), np.nan)
    for left_out in masks:
        predicted, why = predict_unseen(form, points, left_out, noise=noise, near=near)
        if why:
            return sizes, why
        sizes[left_out] = np.abs(predicted - points.y[left_out])
    return sizes, ""


def predict_unseen(
    law: Law,
    points: Points,
    left_out: Array,
    *,
    noise: float | None = None,
    near: Array | None = None,
) -> tuple[Array, str]:
    """Fit to the points not left out and predict the others; or say why not."""
    seen, unseen = points.where(~left_out), points.where(left_out)
    fitted = quick_fit(law, seen, noise=noise, near=near)
    if not fitted.fitted:
        return np.empty(0), fitted.reason
    x = unseen.x or {"x": np.zeros(len(unseen))}
    return fitted.at(x), ""


def quick_fit(
    law: Law, points: Points, *, noise: float | None = None, near: Array | None = None
) -> Fit:
    """Fit by the first route alone: enough for a fold of a validation."""
    refusal = too_little(law, points)
    if refusal:
        return Fit(law, len(points), "refused", refusal)
    problem, found = descend(law, points, noise=noise, seed=0, near=near)
    theta, objective = found.theta, found.objective
    if not np.isfinite(objective):
        return Fit(law, len(points), "refused", "no start gives possible predictions")
    residual, jacobian = (part[0] for part in residuals(problem, theta[None])[:2])
    reason = not_identified(problem, theta, condition=condition_number(jacobian))
    return Fit(
        law=law,
        n_points=len(points),
        status="refused" if reason else "fitted",
        reason=reason,
        theta=theta,
        objective=objective,
        noise=float(problem.sigma[0]),
        residuals=residual,
    )
