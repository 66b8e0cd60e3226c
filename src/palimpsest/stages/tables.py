"""All artifacts of a study → the tidy tables that laws, report and people read (docs/tables.md).

Loads no torch. Rows are sorted by run, then step; CSV floats are written so that they read back
as the same numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from palimpsest.core import measures
from palimpsest.core.clocks import clock_readings
from palimpsest.core.tables import bases, evals, memory, probes, runs

Spec = dict[str, Any]
Inputs = dict[str, list[Path]]
Frames = dict[str, pd.DataFrame]


def build(spec: Spec, inputs: Inputs, out: Path) -> None:
    """Write every table.

    spec: `runs`, whose entries name artifacts by their places in inputs' lists, and `probes`;
    inputs: bases, probes, trains, recalls, evals.
    """
    entries = [_with_outcome(entry, inputs) for entry in sorted(spec["runs"], key=_run_name)]
    raw = _stacked(entries, inputs)
    tables = _of_runs(entries, raw) | _of_probes(spec, inputs, entries)
    tables["bases.csv"] = _bases(entries, inputs, raw["held_out.parquet"])
    tables |= _evals(entries, inputs, raw["steps.parquet"])
    for name, frame in tables.items():
        _write(frame, out / name)


def _with_outcome(entry: Spec, inputs: Inputs) -> Spec:
    """Add the base's size, which of its checkpoints a run started from, and what ended the run."""
    recall = _json(inputs["recalls"][entry["recall"]] / "recall.json")
    phase = _json(inputs["trains"][entry["trains"][-1]] / "phase.json")
    base = _json(inputs["bases"][entry["base"]] / "base.json")
    found = {"base_step": recall["base_step"], "stop_reason": phase["stop_reason"]}
    return entry | found | {name: base[name] for name in ("n_params", "n_params_total")}


def _stacked(entries: list[Spec], inputs: Inputs) -> Frames:
    """Return the rows of all runs, by what they hold, with `run` in front."""
    recalls = {entry["run"]: [inputs["recalls"][entry["recall"]]] for entry in entries}
    trains = {entry["run"]: [inputs["trains"][i] for i in entry["trains"]] for entry in entries}
    names = ("recall", "held_out", "drift", "kl", "pieces")
    frames = {f"{name}.parquet": _stack(recalls, f"{name}.parquet") for name in names}
    return frames | {"steps.parquet": _stack(trains, "log.parquet")}


def _of_runs(entries: list[Spec], raw: Frames) -> Frames:
    recall = raw["recall.parquet"]
    raw["steps.parquet"] = steps = measures.with_decreases(raw["steps.parquet"], recall)
    trained = raw["pieces.parquet"][raw["pieces.parquet"].first_step > 0]
    pieces = measures.signed_forgetting(recall, trained)
    lag = measures.lag_curves(recall, pieces, clock_readings(steps))
    settings = runs.settings_table(entries)
    outcomes = {name: raw[f"{name}.parquet"] for name in ("steps", "held_out", "recall", "kl")}
    controls, shuffled = runs.pure_replay_controls(entries), runs.shuffled_controls(entries)
    kept = ("steps", "held_out", "recall", "drift", "kl")
    visits = measures.visits_table(recall)
    return {f"{name}.parquet": raw[f"{name}.parquet"] for name in kept} | {
        "runs.csv": runs.runs_table(settings, pure_replay=controls, **outcomes),
        "experiments.csv": runs.experiments_table(entries),
        "pieces.parquet": pieces,
        "visits.parquet": visits,
        "repeats.parquet": measures.repeats_table(recall),
        "shifts.csv": measures.shift_map(recall),
        "neighbours.csv": measures.neighbours(recall),
        "memory.csv": memory.memory_table(
            pieces, visits=visits, controls=shuffled, settings=runs.settings_without_seed(entries)
        ),
        "lag.parquet": lag,
        "lag_fits.csv": memory.lag_fits_table(lag),
    }


def _of_probes(spec: Spec, inputs: Inputs, entries: list[Spec]) -> Frames:
    n_params = {entry["model"]: entry["n_params"] for entry in entries}
    listed = [
        probe | {"n_params": n_params[probe["model"]], "folder": inputs["probes"][probe["probe"]]}
        for probe in spec["probes"]
    ]
    listed.sort(key=lambda probe: [probe[key] for key in (*probes.KEYS, *probes.SETTING)])
    frames = {
        table: pd.concat(
            [probes.with_keys(pd.read_parquet(p["folder"] / file), p) for p in listed],
            ignore_index=True,
        )
        for table, file in (
            ("landscape.parquet", "landscape.parquet"),
            ("rates_by_batch.parquet", "rates.parquet"),
        )
    }
    summaries = [probe | _json(probe["folder"] / "probe.json") for probe in listed]
    return frames | {"rates.csv": probes.rates_table(summaries)}


def _bases(entries: list[Spec], inputs: Inputs, held_out: pd.DataFrame) -> pd.DataFrame:
    """Join the checkpoints that one model brings in several artifacts: one per revision."""
    listed: dict[tuple[str, int], dict[int, Any]] = {}
    for entry in entries:
        base = _json(inputs["bases"][entry["base"]] / "base.json")
        sizes = {name: base[name] for name in ("n_params", "n_params_total")}
        kept = listed.setdefault((entry["model"], entry["seed"]), {})
        kept.update({one["step"]: sizes | one for one in base["checkpoints"]})
    return bases.bases_table(listed, entries, held_out[held_out.checkpoint_step == 0])


def _evals(entries: list[Spec], inputs: Inputs, steps: pd.DataFrame) -> Frames:
    read = cache(_answers)  # runs share their base's
    settings = runs.settings_table(entries).set_index("run", drop=False)
    rows, along, seen = [], [], {}
    for entry in entries:
        if entry["evals"] is None:
            continue
        base, now = (read(inputs["evals"][entry[place]]) for place in ("base_evals", "evals"))
        head = {name: settings.at[entry["run"], name] for name in evals.EVAL_COLUMNS[:5]}
        rows += evals.eval_rows(head, base, now)
        for step, folder in sorted(_evaluated(entry, inputs).items()):
            along += evals.eval_rows(head | {"checkpoint_step": step}, base, read(folder))
        seen[_base_name(entry)] = (entry, base)
    for name, (entry, base) in sorted(seen.items()):
        rows += evals.base_rows(evals.base_head(name, entry), base)
    return {
        "evals.csv": pd.DataFrame(rows, columns=evals.EVAL_COLUMNS),
        "evals_checkpoints.csv": evals.with_new_tokens(along, steps),
    }


def _evaluated(entry: Spec, inputs: Inputs) -> dict[int, Path]:
    """Return the evaluations of a run's weights by the number of updates behind them.

    An epoch that takes no update ends where the one before it did.
    """
    ends = [*entry["epoch_evals"], [entry["trains"][-1], entry["evals"]]]
    found = {
        int(_json(inputs["trains"][train] / "phase.json")["last_step"]): inputs["evals"][place]
        for train, place in ends
    }
    kept = [inputs["evals"][place] for place in entry["kept_evals"]]
    steps = {folder: _json(folder / "checkpoint.json")["step"] for folder in kept}
    return found | {step: folder for folder, step in steps.items() if step is not None}


def _base_name(entry: Spec) -> str:
    """Name a base's own rows; one that is not its pretraining's last says after which update."""
    step = entry["asked_base_step"]
    early = "" if step == "final" else f"@{step}"
    return f"base:{entry['model']}{early}:s{entry['seed']}"


def _answers(folder: Path) -> evals.Answers:
    results, items = (_read_parquet(folder / f"{name}.parquet") for name in ("results", "items"))
    columns = ("task", "metric", "value")
    return evals.answers(results.to_pylist(), {c: items.column(c).to_numpy() for c in columns})


def _stack(folders: dict[str, list[Path]], file: str) -> pd.DataFrame:
    """Read one file of every run's folders into one frame; runs are a category."""
    read = cache(_read_parquet)
    tables = {run: [read(folder / file) for folder in of_run] for run, of_run in folders.items()}
    names = pa.array([run for run, parts in tables.items() for _ in range(_n_rows(parts))])
    stacked = pa.concat_tables(
        [part for parts in tables.values() for part in parts], promote_options="permissive"
    )
    return stacked.add_column(0, "run", names).to_pandas()


def _n_rows(parts: Iterable[pa.Table]) -> int:
    return sum(part.num_rows for part in parts)


def _read_parquet(file: Path) -> pa.Table:
    return pq.ParquetFile(file).read()


def _run_name(entry: Spec) -> str:
    return str(entry["run"])


def _json(file: Path) -> Any:
    return json.loads(file.read_text("utf-8"))


def _write(frame: pd.DataFrame, file: Path) -> None:
    if file.suffix == ".csv":
        frame.to_csv(file, index=False, lineterminator="\n")
    else:
        frame.to_parquet(file, index=False)
