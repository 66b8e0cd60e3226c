"""Tables in, laws out: fits.json and the CSV files beside it (docs/fits.md says what is where).

Every fit that the tables cannot support is there too, refused, with the reason in plain words.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from palimpsest.core.laws.study.advice import advice, surface
from palimpsest.core.laws.study.bases import base_fits, one_per_base
from palimpsest.core.laws.study.clocks import clocks
from palimpsest.core.laws.study.critical import (
    critical_ratios,
    named,
    of_benchmarks,
    of_policies,
)
from palimpsest.core.laws.study.curves import joint_ablations, joint_fits, run_curves
from palimpsest.core.laws.study.derived import (
    cost_of_replay,
    forgetting_per_nat,
    half_lives,
    rates_by_size,
)
from palimpsest.core.laws.study.entry import Entry, Options, pooled_noise
from palimpsest.core.laws.study.forecast import forecasts
from palimpsest.core.laws.study.forms import form_fits
from palimpsest.core.laws.study.fronts import checkpoint_front, equal_learning, fronts
from palimpsest.core.laws.study.lines import line_fits
from palimpsest.core.laws.study.rates import rate_fits
from palimpsest.core.laws.study.replay import main_sweep, other_sweeps, over_sizes, per_size
from palimpsest.core.laws.summary import plain
from palimpsest.progress import step_done

N_PARTS = 5
NOISY = ("forgetting_nats", "learning_nats")


class Results(NamedTuple):
    """All fits, what is derived from them, and the laws over a grid of sizes and ratios."""

    entries: list[Entry]
    answers: dict[str, Any]
    surface: pd.DataFrame


def build(spec: dict[str, Any], inputs: dict[str, Any], out: Path) -> None:
    """Fit all that the tables support and write the results into `out`."""
    options = Options(
        laws=tuple(spec["laws"]),
        n_draws=int(spec["bootstrap"]),
        seed=int(spec["seed"]),
        tolerance_nats=float(spec["tolerance_nats"]),
    )
    tables = read_tables(Path(inputs["tables"]))
    write_results(fit_all(tables, options), out)


def read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Read the tables that fits are made of."""
    csv = ("runs", "rates", "bases", "evals", "lag_fits")
    tables = {name: pd.read_csv(folder / f"{name}.csv") for name in csv}
    for name in ("held_out", "steps"):
        tables[name] = pd.read_parquet(folder / f"{name}.parquet")
    bases = one_per_base(tables["bases"])
    return tables | {"rates": tables["rates"].query("usual"), "bases": bases}


def fit_all(tables: dict[str, pd.DataFrame], options: Options) -> Results:
    """Return all fits, the answers derived from them, and what they expect at other sizes.

    The noise of a run is one number per column: that of the policy whose sweep is fitted, where it
    was run again, since seeds of a rate beyond the edge lie apart by far more; else of all.
    """
    runs, sweep = tables["runs"], main_sweep(tables["runs"])
    noises = {name: pooled_noise(sweep, name) or pooled_noise(runs, name) for name in NOISY}
    curves = run_curves(runs, tables["held_out"], tables["steps"])
    over_replay, answers = fit_replay(runs, tables["evals"], noises, options)
    step_done(2, N_PARTS, "part of the fits")
    rates = rate_fits(tables["rates"], options)
    others = base_fits(tables["bases"], options)
    others += line_fits(runs, pooled_noise(runs, "loss_original_nats"), options)
    others += form_fits(curves, runs, tables["bases"], options)
    step_done(3, N_PARTS, "part of the fits")
    joint = joint_fits(curves, options)
    step_done(4, N_PARTS, "part of the fits")
    answers |= {
        "rates": rates_by_size(rates, tables["rates"], options),
        "half_lives": half_lives(tables["lag_fits"], runs, options),
        "clocks": clocks(curves, options),
        "joint_ablations": joint_ablations(joint),
        "forecast": forecasts(sweep, tables["rates"], tables["bases"], noises, options),
        "pareto": fronts(runs, tables["evals"], options),
        "pareto_checkpoints": checkpoint_front(curves),
        "equal_learning": equal_learning(curves),
    }
    entries = [*over_replay, *rates, *others, *joint]
    answers["advice"] = advice(
        runs, tables["evals"], tables["rates"], sweep=sweep, entries=entries, options=options
    )
    step_done(5, N_PARTS, "part of the fits")
    shown = [*entries, *answers.pop("others")]
    return Results(shown, answers, surface(sweep, entries, options))


def fit_replay(
    runs: pd.DataFrame, evals: pd.DataFrame, noises: dict[str, Any], options: Options
) -> tuple[list[Entry], dict[str, Any]]:
    """Return the fits over replay of forgetting and learning, and what follows from them.

    `others` are the fits of other policies and of benchmarks.
    """
    sweep = main_sweep(runs)
    fits: dict[str, tuple[list[Entry], list[Entry]]] = {}
    for what in ("forgetting", "learning"):
        column, noise = f"{what}_nats", noises[f"{what}_nats"]
        alone = per_size(sweep, column, what=what, noise=noise, options=options)
        fits[what] = alone, over_sizes(sweep, column, what=what, noise=noise, options=options)
    step_done(1, N_PARTS, "part of the fits")
    critical = critical_ratios(sweep, *fits["forgetting"], options)
    other_policies, by_policy = of_policies(other_sweeps(runs), noises["forgetting_nats"], options)
    benchmarks, by_benchmark = of_benchmarks(runs, evals, options)
    main = named(critical, sweep, task=None, metric=None)
    answers = {
        "critical_ratios": [*main, *by_policy, *by_benchmark],
        "cost_of_replay": cost_of_replay(sweep, fits["learning"][0], options),
        "forgetting_per_nat": forgetting_per_nat(
            sweep, fits["forgetting"][0], fits["learning"][0], options
        ),
        "others": [*other_policies, *benchmarks],
    }
    return [entry for pair in fits.values() for part in pair for entry in part], answers


def write_results(results: Results, out: Path) -> None:
    """Write fits.json, the tidy fits.csv and held_out.csv, predictions.csv and surface.csv."""
    entries = results.entries
    content = {"fits": {entry.name: entry.record for entry in entries}, **results.answers}
    text = json.dumps(plain(content), sort_keys=True, indent=1, allow_nan=False)
    (out / "fits.json").write_text(text + "\n", encoding="utf-8")
    tidy(entries).to_csv(out / "fits.csv", index=False)
    held_out(entries).to_csv(out / "held_out.csv", index=False)
    curves = [entry.curve for entry in entries if len(entry.curve)]
    columns = ["fit", "n_params", "replay_fraction", "decrease", "y", "low", "high"]
    drawn = pd.concat(curves, ignore_index=True) if curves else pd.DataFrame()
    drawn.reindex(columns=columns).to_csv(out / "predictions.csv", index=False)
    results.surface.to_csv(out / "surface.csv", index=False)


def tidy(entries: list[Entry]) -> pd.DataFrame:
    """Return one row per fit and parameter; a refused fit has one row without a parameter."""
    kept = ["name", "law", "question", "what", "status", "reason", "n_points", "objective"]
    kept += ["delta", "noise", "condition", "misses_points"]
    rows: list[dict[str, Any]] = []
    for entry in entries:
        record = entry.record
        shared = {key: record[key] for key in kept}
        starts = record["routes"].get("starts", {})
        shared |= {"share_at_optimum": starts.get("share_at_optimum")}
        shared |= {"largest_residual": max(map(abs, record["residuals"]), default=None)}
        for name, value in (record["parameters"] or {"": {}}).items():
            moved = {f"at {move}": by_name.get(name) for move, by_name in delta_moves(record)}
            rows.append({**shared, "parameter": name, **value, **moved})
    columns = ["name", "law", "question", "what", "parameter", "value", "low", "high", "alone"]
    columns += ["at delta x 0.1", "at delta x 10", *kept[4:]]
    return pd.DataFrame(rows, columns=[*columns, "share_at_optimum", "largest_residual"])


def delta_moves(record: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    """Return (which delta, parameters there) of a fit."""
    return list(record["delta_moves"].items())


def held_out(entries: list[Entry]) -> pd.DataFrame:
    """Return one row per fit, split and form: errors on data that the form has not seen."""
    rows = [{"fit": entry.name, **row} for entry in entries for row in entry.record["held_out"]]
    columns = ["fit", "split", "form", "error", "worst", "share_of_effect", "n_left_out", "reason"]
    return pd.DataFrame(rows, columns=columns)
