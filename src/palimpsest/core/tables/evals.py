"""Benchmark items of bases and runs → how far each collapsed, with a paired error and a verdict."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from palimpsest.core.collapse import (
    TOLERANCES,
    Collapse,
    of_accuracy,
    of_perplexity,
    undefined,
)
from palimpsest.faults import Fault

EVAL_COLUMNS = [
    *("run", "model", "seed", "replay_fraction", "policy_label", "task", "metric"),
    *("value", "stderr", "base_value", "base_stderr", "chance", "collapse", "collapse_stderr"),
    *("low", "high", "tolerance", "verdict", "n_items"),
]
CHECKPOINT_COLUMNS = [*EVAL_COLUMNS[:5], "checkpoint_step", "n_new_tokens", *EVAL_COLUMNS[5:]]


class Answers(NamedTuple):
    """One checkpoint's results by (task, metric) and its items' values in order."""

    results: dict[tuple[str, str], dict[str, Any]]
    items: dict[tuple[str, str], np.ndarray]


def answers(results: list[dict[str, Any]], items: dict[str, np.ndarray]) -> Answers:
    """Index what the evals stage wrote: rows of results, columns task, metric, value of items.

    The items of a task and metric stand in the order of the task's documents.
    """
    by_place = {(row["task"], row["metric"]): row for row in results}
    return Answers(
        results=by_place,
        items={
            (task, metric): items["value"][(items["task"] == task) & (items["metric"] == metric)]
            for task, metric in by_place
        },
    )


def eval_rows(head: dict[str, Any], base: Answers, now: Answers) -> list[dict[str, Any]]:
    """Compare a run with its base on every task and metric; head: the run's keys."""
    rows = []
    for key, result in sorted(now.results.items()):
        before = base.results[key]
        collapse = _collapse(key, base, now, chance=before["chance"])
        rows.append(
            head
            | {"task": key[0], "metric": key[1]}
            | {name: result[name] for name in ("value", "stderr", "chance", "n_items")}
            | {"base_value": before["value"], "base_stderr": before["stderr"]}
            | asdict(collapse)
        )
    return rows


def base_rows(head: dict[str, Any], base: Answers) -> list[dict[str, Any]]:
    """Return a base's own results; it is the measure of collapse and has none itself."""
    nothing = asdict(undefined(float("nan")))
    return [row | nothing for row in eval_rows(head, base, base)]


def base_head(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a base's rows: `base:<model>:s<seed>` and no setting of training."""
    keys = {key: entry[key] for key in ("model", "seed")}
    return {"run": name, **keys, "replay_fraction": np.nan, "policy_label": ""}


def with_new_tokens(rows: list[dict[str, Any]], steps: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of checkpoints with the new tokens that their run had seen by then."""
    columns = [name for name in CHECKPOINT_COLUMNS if name != "n_new_tokens"]
    table = pd.DataFrame(rows, columns=columns).astype({"checkpoint_step": int})
    seen = steps[["run", "step", "n_new_tokens"]].rename(columns={"step": "checkpoint_step"})
    table = table.merge(seen, on=["run", "checkpoint_step"], how="left")
    table.loc[table.checkpoint_step == 0, "n_new_tokens"] = 0  # ended before its first update
    return table.astype({"n_new_tokens": int})[CHECKPOINT_COLUMNS]


def _collapse(key: tuple[str, str], base: Answers, now: Answers, *, chance: float) -> Collapse:
    task, metric = key[0], key[1].partition(",")[0]  # a filter may follow
    if metric not in TOLERANCES:
        return undefined(float("nan"))
    before, after, tolerance = base.items[key], now.items[key], TOLERANCES[metric]
    if len(before) != len(after):
        raise Fault(
            f"evals: {task} has {len(after)} items for a run and {len(before)} for its base; "
            "evaluate both with the same limit"
        )
    if metric == "perplexity":
        return of_perplexity(before, after, tolerance=tolerance)
    return of_accuracy(before, after, chance=chance, tolerance=tolerance)
