"""What a recommendation is read from: the settings that were measured, and laws for other sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core.laws.form import Array, predict
from palimpsest.core.laws.intervals import Noise, interval
from palimpsest.core.laws.study.entry import Entry, Options, pooled_noise
from palimpsest.core.laws.study.replay import at_size, best_of
from palimpsest.core.plain_runs import mixed_runs
from palimpsest.core.seeds import over_seeds

Rows = list[dict[str, Any]]
CELL = ["model", "n_params", "policy_label", "replay_fraction"]
LOSSES = ("forgetting", "learning")
TIMES_BELOW, TIMES_BEYOND = 10.0, 1e7  # the sizes asked for, against smallest and largest
N_SIZES, N_RATIOS = 201, 41
ENDS = ("", "_low", "_high")
SURFACE = [
    *("n_params", "replay_fraction", "learning_rate", "learning_rate_low", "learning_rate_high"),
    *(f"{what}_nats{end}" for what in LOSSES for end in ENDS),
]


def advice(
    runs: pd.DataFrame,
    evals: pd.DataFrame,
    rates: pd.DataFrame,
    *,
    sweep: pd.DataFrame,
    entries: list[Entry],
    options: Options,
) -> dict[str, Any]:
    """Return what was measured, and which laws speak of other sizes or why none does.

    sweep: the runs of the one policy that the laws are fitted to; entries: fits over replay and
    size together, and of the rates.
    """
    sizes = sorted({int(n) for n in sweep.n_params})
    return {
        "tolerance_nats": options.tolerance_nats,
        "confidence": options.confidence,
        "policy": str(sweep.policy_label.iloc[0]) if len(sweep) else None,
        "decrease": decrease_of(sweep),
        "sizes": sizes,
        "ratios": sorted({float(ratio) for ratio in sweep.replay_fraction}),
        "runs": sorted(sweep.run),
        "measured": measured(runs, evals, rates),
        "laws": {what: chosen_law(entries, what)[1] for what in LOSSES}
        | {"learning_rate": rate_law(entries, decrease_of(sweep))},
    }


def measured(runs: pd.DataFrame, evals: pd.DataFrame, rates: pd.DataFrame) -> Rows:
    """Return each setting that saw new text once, with the intervals over its seeds."""
    plain = mixed_runs(runs).dropna(subset=["forgetting_nats", "learning_nats"])
    cells = {what: by_policy(plain, f"{what}_nats") for what in LOSSES}
    rows: Rows = []
    for place, (_, cell) in enumerate(cells["forgetting"].iterrows()):
        own = plain[(plain[CELL] == cell[CELL]).all(axis=1)]
        rate = float(own.learning_rate.mean())
        row: dict[str, Any] = {name: cell[name] for name in CELL}
        row |= {f"{what}_nats": triple(cells[what].iloc[place]) for what in LOSSES}
        row |= {"learning_rate": rate, "decrease": caused_decrease(own, rates, rate)}
        row |= {"benchmarks": benchmarks(evals[evals.run.isin(own.run)])}
        rows.append(row | {"n_seeds": int(cell.n_seeds), "runs": sorted(own.run)})
    return rows


def by_policy(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the settings' means over seeds; a policy that was run again has a spread of its own.

    Seeds of a rate beyond the edge lie apart by far more than those of a low one.
    """
    borrowed = over_seeds(runs, column, by=CELL)
    parts = []
    for label, group in runs.groupby("policy_label"):
        own = over_seeds(group, column, by=CELL)
        known = own.n_free.max() > 0
        parts.append(own if known else borrowed[borrowed.policy_label == label])
    return pd.concat([borrowed.iloc[:0], *parts]).sort_values(CELL, ignore_index=True)


def triple(cell: pd.Series) -> dict[str, float]:
    """Return value, low and high of a row of `over_seeds`."""
    return {"value": float(cell["mean"]), "low": float(cell.low), "high": float(cell.high)}


def benchmarks(results: pd.DataFrame) -> dict[str, int]:
    """Return how many results of a setting's benchmarks have each verdict."""
    return {str(verdict): int(n) for verdict, n in results.verdict.value_counts().items()}


def caused_decrease(own: pd.DataFrame, rates: pd.DataFrame, rate: float) -> float | None:
    """Return the decrease that the rate causes in one step: asked for, or read off the probes.

    Between two probed decreases the logarithms are interpolated; beyond them there is no answer.
    """
    asked = own.decrease_asked.dropna()
    if len(asked):
        return float(asked.iloc[0])
    probed = rates[(rates.model == own.model.iloc[0]) & (rates.target == "decrease")]
    probed = probed[(probed.decrease > 0) & probed.median_learning_rate.notna()]
    here = probed[probed.replay_fraction == own.replay_fraction.iloc[0]]
    medians = (here if len(here) else probed).groupby("decrease").median_learning_rate.median()
    medians = medians[medians.index > 0].sort_index()
    if not len(medians) or not medians.iloc[0] <= rate <= medians.iloc[-1]:
        return None
    return float(np.exp(np.interp(np.log(rate), np.log(medians), np.log(medians.index))))


def decrease_of(sweep: pd.DataFrame) -> float | None:
    """Return the one-step decrease that the policy of the sweep asks for, if it asks for one."""
    asked = sweep.decrease_asked.dropna()
    return float(asked.iloc[0]) if len(asked) else None


def chosen_law(entries: list[Entry], what: str) -> tuple[list[Entry], dict[str, Any]]:
    """Return the usable laws over replay and size, the best first, and a record of the choice.

    Best is the smallest error on what was left out among those that meet their own points. None
    speaks where that error is unknown, or a constant's is smaller.
    """
    whole = [e for e in entries if e.name.startswith(f"{what}/") and not e.record["group"]]
    forms = [entry for entry in whole if entry.fit.law.name != "constant"]
    usable = [entry for entry in forms if entry.usable]
    if not usable:
        reasons = sorted({entry.record["reason"] for entry in forms})
        return [], no_law("; ".join(reasons) or "no law over replay and size was asked for")
    best = best_of([entry for entry in usable if not entry.misses])
    if best is None:
        return [], no_law(f"{', '.join(e.name for e in usable)}: misses its own points")
    if not np.isfinite(best.error):
        return [], no_law(f"{best.name} could not be judged on what was left out")
    flat = [entry.error for entry in whole if entry.fit.law.name == "constant"]
    if flat and min(flat) <= best.error:
        return [], no_law(f"a constant predicts what was left out better than {best.name}")
    others = [entry for entry in usable if entry is not best]
    names = [entry.name for entry in others]
    return [best, *others], {"fit": best.name, "beside": names, "reason": ""}


def rate_law(entries: list[Entry], decrease: float | None) -> dict[str, Any]:
    """Return which fits give the rate for the decrease that the policy asks for."""
    if decrease is None:
        return no_law("the policy asks for no decrease: its rate does not follow the size")
    rates = [entry for entry in entries if entry.name.startswith("rate/decrease/")]
    usable = [entry.name for entry in rates if entry.usable]
    if not usable:
        reasons = sorted({entry.record["reason"] for entry in rates})
        return no_law("; ".join(reasons) or "decrease-lr was not asked for")
    return {"fit": usable[0], "beside": usable[1:], "reason": ""}


def no_law(reason: str) -> dict[str, Any]:
    """Return the record of a quantity that no law gives."""
    return {"fit": None, "beside": [], "reason": reason}


def surface(sweep: pd.DataFrame, entries: list[Entry], options: Options) -> pd.DataFrame:
    """Return what the laws expect of one more run, over a grid of sizes and replay ratios.

    Empty columns where no law speaks. Intervals hold the fit, the noise of a run and the distance
    between the forms that could be fitted; that of the rate holds the fit alone.
    """
    if sweep.empty:
        return pd.DataFrame(columns=SURFACE)
    n = np.geomspace(
        sweep.n_params.min() / TIMES_BELOW, sweep.n_params.max() * TIMES_BEYOND, N_SIZES
    )
    ratios = np.linspace(0, sweep.replay_fraction.max(), N_RATIOS)
    ratios = np.unique(np.concatenate([ratios, sweep.replay_fraction]))
    laws = {what: chosen_law(entries, what)[0] for what in LOSSES}
    noises = {what: pooled_noise(sweep, f"{what}_nats") for what in LOSSES}
    parts = []
    for size in n:
        part = {"n_params": np.full(len(ratios), size), "replay_fraction": ratios}
        for what in LOSSES:
            bands = band(laws[what], size, ratios, noise=noises[what], options=options)
            part |= {f"{what}_nats{end}": b for end, b in zip(ENDS, bands, strict=True)}
        rates = rate_band(entries, size, ratios, decrease=decrease_of(sweep), options=options)
        part |= {f"learning_rate{end}": b for end, b in zip(ENDS, rates, strict=True)}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)[SURFACE]


def band(
    laws: list[Entry], n_params: float, ratios: Array, *, noise: Noise | None, options: Options
) -> tuple[Array, Array, Array]:
    """Return value, low and high (m,) of one more run at a size."""
    if not laws:
        nothing = np.full(len(ratios), np.nan)
        return nothing, nothing, nothing
    middles = [law.fit.at(at_size(law.fit.law, ratios, n_params)) for law in laws]
    apart = np.ptp(middles, axis=0)
    best = laws[0]
    draws = predict(best.fit.law, best.draws.theta, at_size(best.fit.law, ratios, n_params))
    if noise is not None:
        random = np.random.default_rng(options.seed)
        draws = draws + noise.sigma * random.standard_t(noise.n_free, (len(draws), 1))
    low, high = interval(draws, confidence=options.confidence)
    return middles[0], low - apart, high + apart


def rate_band(
    entries: list[Entry],
    n_params: float,
    ratios: Array,
    *,
    decrease: float | None,
    options: Options,
) -> tuple[Array, Array, Array]:
    """Return the rate, low and high (m,) at a size; between probed ratios logarithms are joined."""
    fits = {
        float(entry.record["group"]["replay_fraction"]): entry
        for entry in entries
        if entry.name.startswith("rate/decrease/") and entry.usable and decrease is not None
    }
    if not fits:
        nothing = np.full(len(ratios), np.nan)
        return nothing, nothing, nothing
    x = {"N": np.array([n_params]), "f": np.array([decrease], dtype=float)}
    known = []
    for _, entry in sorted(fits.items()):
        low, high = interval(
            predict(entry.fit.law, entry.draws.theta, x)[:, 0], confidence=options.confidence
        )
        known.append(np.log([float(entry.fit.at(x)[0]), float(low), float(high)]))
    columns = np.array(known).T
    joined = [np.exp(np.interp(ratios, sorted(fits), column)) for column in columns]
    return joined[0], joined[1], joined[2]
