"""What the fits say: a parameter with its interval, a curve with its band, or why there is none."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pandas as pd

from palimpsest.core.answers.frames import Frames
from palimpsest.core.answers.numbers import between, percent, plain

FRONT_COLUMNS = [
    *("model", "n_params", "policy_label", "replay_fraction", "learning_nats", "forgetting_nats"),
    *("member", "probability", "knee", "knee_probability", "n_seeds"),
]


class Fitted(NamedTuple):
    """A value and its interval; NaN where there is none."""

    value: float
    low: float
    high: float


def parameter(fits: dict[str, Any], name: str, symbol: str) -> Fitted | None:
    """Return a parameter of the fit `name`, None where that fit does not exist or was refused."""
    values = fits["fits"].get(name, {}).get("parameters") or {}
    return triple(values[symbol]) if symbol in values else None


def triple(value: dict[str, Any]) -> Fitted:
    """Return value, low, high of a record; nulls become NaN."""
    return Fitted(*(_number(value[end]) for end in ("value", "low", "high")))


def with_ends(record: dict[str, Any], *, decimals: int = 3) -> str:
    """Write a value with its interval; the reason where there is none."""
    value, low, high = triple(record)
    if math.isnan(value):
        return f"– ({record['reason']})"
    return f"{plain(value, decimals=decimals)} ({between(low, high, decimals=decimals)})"


def reason(fits: dict[str, Any], prefix: str) -> str:
    """Return why no fit whose name begins with `prefix` can be used."""
    reasons = {
        record["reason"] for name, record in sorted(fits["fits"].items()) if name.startswith(prefix)
    }
    return "; ".join(sorted(reasons)) or "no such law was asked for"


def critical_ratio(fits: dict[str, Any], model: str) -> dict[str, Any]:
    """Return what the fits say of the critical replay ratio of a size; empty if nothing.

    It is that of the policy the laws are fitted to, for forgetting.
    """
    for row in fits["critical_ratios"]:
        if (row["model"], row["task"], row["policy_label"]) == (
            model,
            None,
            fits["advice"]["policy"],
        ):
            return dict(row)
    return {}


def critical_words(fits: dict[str, Any], model: str) -> str:
    """Return the fitted critical replay ratio of a size in words, with its interval."""
    found = critical_ratio(fits, model)
    answer = found.get("answer", "not decidable")
    if answer == "none":
        return f"none up to {percent(found['largest_ratio_tried'])}"
    if answer != "ratio":
        return str(answer)
    value, low, high = triple(found)
    return f"{percent(value)} ({percent(low)} to {percent(high)})"


def forgetting_curve(frames: Frames, model: str, n_params: int) -> tuple[str, pd.DataFrame]:
    """Return the fit chosen for a size's forgetting over replay, and its curve y, low, high.

    The choice is that of the critical ratio, by error on what was left out; else the first fit of
    that size whose curve goes through its points. Both are empty where there is no such fit.
    """
    chosen = critical_ratio(frames.fits, model).get("fit")
    curves = frames.predictions[frames.predictions.fit.astype(str).str.startswith("forgetting/")]
    own = sorted(name for name in curves.fit.unique() if name.endswith(f"/{model}"))
    name = str(chosen or next((one for one in own if not misfit(frames.fits, one)), ""))
    curve = curves[curves.fit == name]
    return name, curve[curve.n_params.isna() | (curve.n_params == n_params)]


def misfit(fits: dict[str, Any], name: str) -> bool:
    """Return whether a fit lies farther from its points than the spread over seeds explains."""
    return bool(fits["fits"].get(name, {}).get("misses_points"))


def front_table(fits: dict[str, Any]) -> pd.DataFrame:
    """Return the settings of every size's front of learning and forgetting, one row each."""
    planes = [row for row in fits["pareto"] if row["loss"] == "forgetting_nats"]
    settings = [setting for row in planes for setting in row["settings"]]
    if not settings:
        return pd.DataFrame(columns=FRONT_COLUMNS)
    table = pd.DataFrame(settings).sort_values(["n_params", "policy_label", "replay_fraction"])
    return table[FRONT_COLUMNS].astype({"knee_probability": float}).reset_index(drop=True)


def law_of(frames: Frames, name: str) -> str:
    """Return the name of the law behind a fit."""
    return str(frames.fits["fits"].get(name, {}).get("law", ""))


def law_rows(fits: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return one row per fit: name, formula, status, parameters that stand alone, δ, reason."""
    rows: list[tuple[str, ...]] = []
    for name, record in sorted(fits["fits"].items()):
        alone = {
            symbol: triple(value)
            for symbol, value in (record["parameters"] or {}).items()
            if value["alone"]
        }
        words = "; ".join(
            f"{symbol} {plain(one.value, decimals=3)} ({between(one.low, one.high)})"
            for symbol, one in alone.items()
        )
        status = record["status"] + ", misses its points" * misfit(fits, name)
        moves = delta_words(record, list(alone))
        rows.append((name, record["formula"], status, words or "–", moves, record["reason"]))
    return rows


def delta_words(record: dict[str, Any], symbols: list[str]) -> str:
    """Return by how much each parameter moves when Huber's δ is a tenth and ten times as large."""
    found = record["delta_moves"].values()
    told = [
        f"{symbol} "
        + ", ".join(
            plain(at[symbol] - record["parameters"][symbol]["value"], decimals=3, signed=True)
            for at in found
        )
        for symbol in symbols
    ]
    return "; ".join(told) if told and found else "–"


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
