"""The largest size predicted from the others, by every two-parameter form in size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core.laws import constant, load, log_linear
from palimpsest.core.laws.fitting import Fit
from palimpsest.core.laws.form import Array, Law, predict
from palimpsest.core.laws.intervals import Draws, Noise, bootstrap, interval, replicate_noise
from palimpsest.core.laws.points import Points
from palimpsest.core.laws.study.entry import Options, points_of
from palimpsest.core.laws.study.rates import rate_points
from palimpsest.core.laws.validation import quick_fit

Rows = list[dict[str, Any]]
LEAST_SIZES = 3  # two to fit a slope in size, one to be left out


def forecasts(
    runs: pd.DataFrame,
    rates: pd.DataFrame,
    bases: pd.DataFrame,
    noises: Mapping[str, Noise | None],
    options: Options,
) -> Rows:
    """Return one row per quantity, setting and form: seen, predicted, interval, inside or not."""
    rows: Rows = []
    for column, what in (("forgetting_nats", "forgetting"), ("learning_nats", "learning")):
        noise = noises[column]
        for _, group in runs.groupby("replay_fraction"):
            inputs = {"p": "replay_fraction", "N": "n_params"}
            points = points_of(group, inputs, target=column, cell=["model"])
            forms = [size_power(), log_linear.over(["N"]), constant.LAW]
            rows += forecast(what, points, forms, noise=noise, options=options)
    asked = rates[(rates.target == "decrease") & (rates.replay_fraction == 0)]
    points = rate_points(asked[asked.decrease > 0])
    forms = [load("decrease-lr"), constant.LAW]
    rows += forecast("rate", points, forms, noise=None, options=options)
    final = bases[bases.final.astype(bool)]
    names = final.model.astype(str) + "/" + final.seed.astype(str)
    named = final.assign(run=names, replay_fraction=0.0)
    inputs = {"N": "n_params", "p": "replay_fraction"}
    points = points_of(named, inputs, target="loss_original_nats", cell=["model"])
    forms = [like_loss(size_power()), log_linear.over(["N"]), constant.LAW]
    return rows + forecast("base loss", points, forms, noise=None, options=options)


def size_power() -> Law:
    """Return y = F_0 N^-g: two parameters in size, any sign and either direction."""
    law = load("replay-size").fix(F_inf=0.0, a=0.0, B=1.0)
    return replace(law, name="size-power", formula="y = F_0 N^-g", distinct={"N": 3})


def like_loss(law: Law) -> Law:
    """Compare a form on log residuals, as losses are."""
    return replace(law, compare="log", noise_scaled=False)


def forecast(
    what: str, points: Points, forms: list[Law], *, noise: Noise | None, options: Options
) -> Rows:
    """Fit each form without the largest size and predict it, run by run."""
    if len(points) == 0 or points.n_distinct("N") < LEAST_SIZES:
        return []
    largest = points.x["N"] == points.x["N"].max()
    seen, unseen = points.where(~largest), points.where(largest)
    like = forms[0]
    forms = [comparable(form, like, seen) for form in forms]
    noise = noise or replicate_noise(points, like)
    fits = [quick_fit(form, seen, noise=noise.sigma if noise else None) for form in forms]
    drawn = [draws_of(each, seen, noise=noise, options=options) for each in fits]
    middle = [each.at(unseen.x) if each.fitted else None for each in fits]
    known = [values for values in middle[:-1] if values is not None]
    apart = np.ptp(known, axis=0) if known else np.zeros(len(unseen))
    rows: Rows = []
    for form, each, draws, values in zip(forms, fits, drawn, middle, strict=True):
        band = None
        if draws is not None and draws.decided:
            band = widened(form, draws, unseen, noise=noise, apart=apart, options=options)
        rows += described(what, form.name, unseen, each, predicted=values, band=band)
    return rows


def comparable(form: Law, like: Law, seen: Points) -> Law:
    """Let all forms meet the target on the scale of the first one."""
    names = [name for name in form.inputs if name in seen.x]
    return replace(
        form,
        compare=like.compare,
        link=like.link,
        noise_scaled=like.noise_scaled,
        target=like.target,
        domain={name: form.domain[name] for name in names if name in form.domain},
        distinct={name: min(needed, 3) for name, needed in form.distinct.items()},
    )


def draws_of(fitted: Fit, points: Points, *, noise: Noise | None, options: Options) -> Draws | None:
    """Return draws of a fit's parameters, None where there is no fit."""
    if not fitted.fitted:
        return None
    return bootstrap(fitted, points, noise=noise, n_draws=options.n_draws, seed=options.seed)


def widened(
    law: Law,
    draws: Draws,
    unseen: Points,
    *,
    noise: Noise | None,
    apart: Array,
    options: Options,
) -> tuple[Array, Array]:
    """Return the interval of a new run: fit, the run's own noise, the spread over forms."""
    predicted = predict(law, draws.theta, unseen.x)
    if noise is not None:
        random = np.random.default_rng(options.seed + 1)
        kicks = noise.sigma * random.standard_t(noise.n_free, size=predicted.shape)
        predicted = predicted * np.exp(kicks) if law.compare == "log" else predicted + kicks
    low, high = interval(predicted, confidence=options.confidence)
    return low - apart, high + apart


def described(
    what: str,
    form: str,
    unseen: Points,
    fitted: Fit,
    *,
    predicted: Array | None,
    band: tuple[Array, Array] | None,
) -> Rows:
    """Return the rows of one form; without a fit or an interval the numbers stay empty."""
    rows: Rows = []
    for k, seen in enumerate(unseen.y):
        row: dict[str, Any] = {"quantity": what, "form": form, "observed": float(seen)}
        row |= {"n_params": int(unseen.x["N"][k]), "status": fitted.status}
        row |= {"reason": fitted.reason, "predicted": None, "low": None, "high": None}
        row |= {"replay_fraction": None, "decrease": None, "inside": None, "error": None}
        row |= {long: float(unseen.x[short][k]) for short, long in SHORT if short in unseen.x}
        if predicted is not None:
            row |= {"predicted": float(predicted[k]), "error": float(abs(predicted[k] - seen))}
        if band is not None:
            low, high = float(band[0][k]), float(band[1][k])
            row |= {"low": low, "high": high, "inside": bool(low <= seen <= high)}
        rows.append(row)
    return rows


SHORT = (("p", "replay_fraction"), ("f", "decrease"))
