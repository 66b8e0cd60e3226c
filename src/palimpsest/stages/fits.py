"""Tables in, laws out: fits.json, fits.csv and predictions.csv (docs/fits.md says what is where).

Every fit that the tables cannot support is there too, refused, with the reason in plain words.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from palimpsest.core.laws.study.advice import advice, surface
from palimpsest.core.laws.study.bases import base_fits
from palimpsest.core.laws.study.curves import joint_fits, run_curves
from palimpsest.core.laws.study.entry import Entry, Options
from palimpsest.core.laws.study.forecast import forecasts, summary
from palimpsest.core.laws.study.fronts import checkpoint_front, equal_learning, fronts
from palimpsest.core.laws.study.lines import line_fits
from palimpsest.core.laws.study.rates import rate_fits
from palimpsest.core.laws.study.replay import critical_ratios, mixed_runs, over_sizes, per_size
from palimpsest.core.laws.summary import plain
from palimpsest.progress import step_done

N_PARTS = 8


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
        confidence=float(spec["confidence"]),
        seed=int(spec["seed"]),
        tolerance_nats=float(spec["tolerance_nats"]),
    )
    tables = read_tables(Path(inputs["tables"]))
    write_results(fit_all(tables, options), out)


def read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Read the tables that fits are made of."""
    csv = ("runs", "rates", "bases", "evals")
    tables = {name: pd.read_csv(folder / f"{name}.csv") for name in csv}
    for name in ("held_out", "steps"):
        tables[name] = pd.read_parquet(folder / f"{name}.parquet")
    return tables | {"rates": tables["rates"].query("usual")}


def fit_all(tables: dict[str, pd.DataFrame], options: Options) -> Results:
    """Return all fits, the answers derived from them, and what they expect at other sizes."""
    runs = tables["runs"]
    curves = run_curves(runs, tables["held_out"], tables["steps"])
    sweep = mixed_runs(runs)
    forgetting = per_size(sweep, "forgetting_nats", what="forgetting", options=options)
    step_done(1, N_PARTS, "part of the fits")
    forgetting_all = over_sizes(sweep, "forgetting_nats", what="forgetting", options=options)
    step_done(2, N_PARTS, "part of the fits")
    learning = per_size(sweep, "learning_nats", what="learning", options=options)
    learning += over_sizes(sweep, "learning_nats", what="learning", options=options)
    step_done(3, N_PARTS, "part of the fits")
    rates = rate_fits(tables["rates"], options)
    step_done(4, N_PARTS, "part of the fits")
    others = base_fits(tables["bases"], options) + line_fits(runs, options)
    joint = joint_fits(curves, options)
    step_done(6, N_PARTS, "part of the fits")
    critical = critical_ratios(sweep, forgetting, forgetting_all, options)
    largest = forecasts(sweep, tables["rates"], tables["bases"], options)
    answers: dict[str, Any] = {
        "critical_replay": critical,
        "forecast": largest,
        "forecast_summary": summary(largest),
        "pareto": fronts(runs, tables["evals"], options),
        "pareto_checkpoints": checkpoint_front(curves),
        "equal_learning": equal_learning(curves),
    }
    entries = [*forgetting, *forgetting_all, *learning, *rates, *others, *joint]
    answers["advice"] = advice(
        runs, tables["evals"], tables["rates"], sweep=sweep, entries=entries, options=options
    )
    return Results(entries, answers, surface(sweep, entries, options))


def write_results(results: Results, out: Path) -> None:
    """Write fits.json, the tidy fits.csv, the curves of predictions.csv, and surface.csv."""
    entries = results.entries
    content = {"fits": {entry.name: entry.record for entry in entries}, **results.answers}
    text = json.dumps(plain(content), sort_keys=True, indent=1, allow_nan=False)
    (out / "fits.json").write_text(text + "\n", encoding="utf-8")
    tidy(entries).to_csv(out / "fits.csv", index=False)
    curves = [entry.curve for entry in entries if len(entry.curve)]
    columns = ["fit", "n_params", "replay_fraction", "decrease", "y", "low", "high"]
    drawn = pd.concat(curves, ignore_index=True) if curves else pd.DataFrame()
    drawn.reindex(columns=columns).to_csv(out / "predictions.csv", index=False)
    results.surface.to_csv(out / "surface.csv", index=False)


def tidy(entries: list[Entry]) -> pd.DataFrame:
    """Return one row per fit and parameter; a refused fit has one row without a parameter."""
    rows: list[dict[str, Any]] = []
    for entry in entries:
        kept = ("name", "law", "question", "what", "status", "reason", "n_points", "objective")
        shared = {key: entry.record[key] for key in (*kept, "delta", "noise", "condition")}
        values = entry.record["parameters"] or {"": {}}
        rows += [{**shared, "parameter": name, **value} for name, value in values.items()]
    columns = ["name", "law", "question", "what", "parameter", "value", "low", "high", "alone"]
    columns += ["status", "reason", "n_points", "objective", "delta", "noise", "condition"]
    return pd.DataFrame(rows, columns=columns)
