"""Turns points into errors on data that a law has not seen, beside the two baselines.

A split says which points are left out; every form is fitted to the rest and predicts them. Errors
are in the target's unit, and as a share of the effect: the range of y over all points.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from palimpsest.core.laws import constant, log_linear
from palimpsest.core.laws.fitting import (
    Fit,
    condition_number,
    descend,
    not_identified,
    too_little,
)
from palimpsest.core.laws.form import Array, Law
from palimpsest.core.laws.points import Points
from palimpsest.core.laws.solver import residuals

Row = dict[str, str | int | float]


def splits_of(points: Points) -> dict[str, list[Array]]:
    """Return per kind of split the masks of what is left out, for the inputs there are."""
    splits: dict[str, list[Array]] = {}
    for name, values in points.x.items():
        levels = np.unique(values)
        if len(levels) < 2:
            continue
        if name in ("N", "D", "x"):
            splits[f"largest {name} left out"] = [values == levels[-1]]
        elif name in ("p", "q", "eta", "f"):
            splits[f"each {name} left out in turn"] = [values == level for level in levels]
        elif name in ("S", "T", "t"):
            splits[f"last half of {name} left out"] = [last_half(points, values)]
    return splits


def last_half(points: Points, clock: Array) -> Array:
    """Mark the points past the middle of their run's clock."""
    run = np.zeros(len(points), dtype=int) if points.run is None else points.run
    middle = np.array([0.5 * clock[run == number].max() for number in range(run.max() + 1)])
    return np.asarray(clock > middle[run])


def held_out(law: Law, points: Points, *, noise: float | None = None) -> list[Row]:
    """Return one row per split and form: its error on what was left out, or why there is none."""
    rows: list[Row] = []
    for split, masks in splits_of(points).items():
        for form in rivals(law, points):
            rows.append({"split": split, **score(form, points, masks, noise=noise)})
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


def score(form: Law, points: Points, masks: list[Array], *, noise: float | None) -> Row:
    """Return the error of one form over the folds of a split."""
    errors: list[float] = []
    worst, reason = 0.0, ""
    for left_out in masks:
        predicted, why = predict_unseen(form, points, left_out, noise=noise)
        if why:
            reason = why
            break
        size = np.abs(predicted - points.y[left_out])
        errors += size.tolist()
        worst = max(worst, float(size.max()))
    effect = float(np.ptp(points.y))
    mean = float(np.mean(errors)) if errors and not reason else float("nan")
    return {
        "form": form.name,
        "error": mean,
        "worst": worst if not reason else float("nan"),
        "share_of_effect": mean / effect if effect > 0 else float("nan"),
        "n_left_out": int(sum(mask.sum() for mask in masks)),
        "reason": reason,
    }


def predict_unseen(
    law: Law, points: Points, left_out: Array, *, noise: float | None = None
) -> tuple[Array, str]:
    """Fit to the points not left out and predict the others; or say why not."""
    seen, unseen = points.where(~left_out), points.where(left_out)
    fitted = quick_fit(law, seen, noise=noise)
    if not fitted.fitted:
        return np.empty(0), fitted.reason
    x = unseen.x or {"x": np.zeros(len(unseen))}
    return fitted.at(x), ""


def quick_fit(law: Law, points: Points, *, noise: float | None = None) -> Fit:
    """Fit by the first route alone: enough for a fold of a validation."""
    refusal = too_little(law, points)
    if refusal:
        return Fit(law, len(points), "refused", refusal)
    problem, found = descend(law, points, noise=noise, seed=0)
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
