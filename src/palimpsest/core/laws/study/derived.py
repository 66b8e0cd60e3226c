"""Answers solved from fits, with intervals: rates per size, what replay costs, half-lives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from palimpsest.core.laws.form import Array, predict
from palimpsest.core.laws.intervals import Noise, interval
from palimpsest.core.laws.study.entry import Entry, Options, pooled_noise
from palimpsest.core.laws.study.rates import rate_at
from palimpsest.core.laws.study.replay import at_size, best_of, by_size
from palimpsest.core.plain_runs import SETTING

Rows = list[dict[str, Any]]
NOTHING: dict[str, Any] = {"value": None, "low": None, "high": None}
BEYOND = 10.0  # times the largest size that was probed: the farthest a rate is predicted


def rates_by_size(fits: list[Entry], rates: pd.DataFrame, options: Options) -> Rows:
    """Return eta_f(N), best(N) and edge(N) at every size, and at ten times the largest.

    They are those of the probes with the least replay, as the report compares them.
    """
    rows: Rows = []
    replay = rates.replay_fraction.min()
    for entry in (one for one in fits if one.record["group"]["replay_fraction"] == replay):
        target = entry.record["group"]["target"]
        found = rates[(rates.target == target) & (rates.replay_fraction == replay)]
        decreases = sorted(found.decrease[found.decrease > 0].unique())
        for decrease in decreases if target == "decrease" else [None]:
            asked = found if decrease is None else found[found.decrease == decrease]
            sizes = np.unique(asked.n_params) if len(asked) else np.empty(0)
            for n_params in (*sizes, *(BEYOND * sizes[-1:])):
                row = {"target": target, "decrease": decrease, "replay_fraction": replay}
                row |= {"n_params": int(n_params), "fit": entry.name, "reason": entry.why_not}
                rows.append(row | _rate(entry, float(n_params), decrease, options))
    return rows


def _rate(
    entry: Entry, n_params: float, decrease: float | None, options: Options
) -> dict[str, Any]:
    """Return a fitted rate with its interval; nulls where the fit has none."""
    if not entry.fit.fitted:
        return NOTHING
    value, draws = rate_at(entry, n_params, 1.0 if decrease is None else decrease)
    if not entry.usable:
        return NOTHING | {"value": value}
    return _triple(value, draws, options)


def cost_of_replay(runs: pd.DataFrame, learning: list[Entry], options: Options) -> Rows:
    """Return what each tried ratio costs in learning at each size by its law: L(0) - L(p), nats."""
    rows: Rows = []
    for model, group in by_size(runs):
        entry = own_best(learning, model)
        for ratio in sorted(group.replay_fraction[group.replay_fraction > 0].unique()):
            row: dict[str, Any] = {"model": model, "n_params": int(group.n_params.iloc[0])}
            row |= {"replay_fraction": float(ratio), "fit": entry.name if entry else None}
            rows.append(row | _cost(entry, row["n_params"], float(ratio), options))
    return rows


def _cost(entry: Entry | None, n_params: float, ratio: float, options: Options) -> dict[str, Any]:
    if entry is None or entry.misses:
        why = f"{entry.name} misses its own points" if entry else "no fit with an interval"
        return NOTHING | {"reason": why}
    best, draws = values_at(entry, n_params, np.array([0.0, ratio]))
    return _triple(float(best[0] - best[1]), draws[:, 0] - draws[:, 1], options) | {"reason": ""}


def forgetting_per_nat(
    runs: pd.DataFrame, forgetting: list[Entry], learning: list[Entry], options: Options
) -> Rows:
    """Return forgetting per nat learnt at each tried ratio and size, F(p) / L(p) of the two fits.

    Null where what is learnt cannot be told from nothing.
    """
    rows: Rows = []
    for model, group in by_size(runs):
        both = own_best(forgetting, model), own_best(learning, model)
        for ratio in sorted(group.replay_fraction.unique()):
            row: dict[str, Any] = {"model": model, "n_params": int(group.n_params.iloc[0])}
            row |= {"replay_fraction": float(ratio)}
            row |= {"fits": [entry.name if entry else None for entry in both]}
            rows.append(row | _per_nat(*both, row["n_params"], float(ratio), options))
    return rows


def _per_nat(
    lost: Entry | None, learnt: Entry | None, n_params: float, ratio: float, options: Options
) -> dict[str, Any]:
    if lost is None or learnt is None:
        return NOTHING | {"reason": "no fit with an interval"}
    missed = [entry.name for entry in (lost, learnt) if entry.misses]
    if missed:
        return NOTHING | {"reason": f"{missed[0]} misses its own points"}
    at = np.array([ratio])
    (above, drawn_above), (below, drawn_below) = (
        values_at(entry, n_params, at) for entry in (lost, learnt)
    )
    if interval(drawn_below[:, 0], confidence=options.confidence)[0] <= 0:
        return NOTHING | {"reason": "what is learnt cannot be told from nothing"}
    n_draws = min(len(drawn_above), len(drawn_below))
    # draws of the two fits are paired at random: that their noise is shared is not known
    order = np.random.default_rng(options.seed).permutation(n_draws)
    draws = drawn_above[:n_draws, 0] / drawn_below[order, 0]
    return _triple(float(above[0] / below[0]), draws, options) | {"reason": ""}


def own_best(entries: list[Entry], model: str) -> Entry | None:
    """Return the best usable fit of one size alone."""
    return best_of([entry for entry in entries if entry.record["group"].get("model") == model])


def values_at(entry: Entry, n_params: float, ratios: Array) -> tuple[Array, Array]:
    """Return a fit's values (m,) at one size and its draws (R, m)."""
    x = at_size(entry.fit.law, ratios, n_params)
    return entry.fit.at(x), predict(entry.fit.law, entry.draws.theta, x)


def _triple(value: float, draws_R: Array, options: Options) -> dict[str, Any]:
    low, high = interval(draws_R, confidence=options.confidence)
    return {"value": value, "low": float(low), "high": float(high)}


def half_lives(lag_fits: pd.DataFrame, runs: pd.DataFrame, options: Options) -> Rows:
    """Return the half-life of the forgetting curves per setting and clock, in the clock's unit.

    The form is the one that more of the setting's seeds prefer by AICc. Half-lives are averaged
    on a log scale; seeds of all settings share one spread. Null where the curves do not show it.
    """
    rows: Rows = []
    known = lag_fits.merge(runs[["run", "n_params", "seed", *SETTING]], on="run")
    for clock, curves in known.groupby("clock", sort=True):
        chosen = curves[curves.better.astype(bool)]
        logs = chosen.assign(log_half_life=np.log(chosen.half_life))
        noise = pooled_noise(logs, "log_half_life")
        for _, seeds in logs.groupby(SETTING, sort=True):
            first = seeds.iloc[0]
            form = str(seeds.form.mode().iloc[0])
            row = {name: first[name] for name in ("model", "n_params", *SETTING[1:])}
            row |= {"clock": str(clock), "form": form, "n_seeds": int(seeds.seed.nunique())}
            values = seeds.log_half_life[seeds.form == form].dropna().to_numpy()
            rows.append(row | _half_life(values, noise, options))
    return rows


def _half_life(logs: Array, noise: Noise | None, options: Options) -> dict[str, Any]:
    """Return the geometric mean of half-lives given as logarithms, and its interval."""
    if not len(logs):
        return NOTHING | {"reason": "no half-life within ten times the lags that were seen"}
    mean = float(logs.mean())
    row = NOTHING | {"value": float(np.exp(mean))}
    if noise is None:
        return row | {"reason": "no setting was run with a second seed: no interval"}
    reach = float(student.ppf(0.5 + options.confidence / 2, noise.n_free))
    half = reach * noise.sigma / np.sqrt(len(logs))
    ends = {"low": float(np.exp(mean - half)), "high": float(np.exp(mean + half))}
    return row | ends | {"reason": ""}
