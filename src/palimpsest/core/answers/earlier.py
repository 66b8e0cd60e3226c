"""Benchmarks of runs made before this program, each beside the same setting here.

The numbers are those of earlier_results.csv: benchmarks by lm-eval of runs of this study on Pythia
models, made before this program, which learned the transcripts of Critical Role. An empty cell is
a setting that nobody recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import between, percent, plain, rate

RECORDED = Path(__file__).with_name("earlier_results.csv")
HEADER = ("earlier run", "setting", "benchmark", "then", "here", "difference", "reads")
NOT_RUN, NOT_EVALUATED = "not run here", "not evaluated here"
NEVER = "not run here: {} not recorded, so nothing is the same setting"
PLAIN = {"n_phases": 1, "repeats": 1, "order": "time", "method": "plain", "base_step": "final"}
COLUMNS = {  # of the earlier results: of the runs here
    "model": "model",
    "mode": "stream",
    "replay_ratio": "replay_fraction",
    "lr_policy": "policy",
    "learning_rate": "learning_rate",
    "window_tokens": "window",
    "stride_tokens": "stride",
    "stride_fraction": "stride_fraction",
    "max_tokens": "max_tokens",
    "epochs": "epochs",
}
Z = 1.96  # of a 95 % interval
NUMBERS = {  # words for the settings that a row records
    "replay_ratio": lambda value: f"{percent(value)} replay",
    "learning_rate": lambda value: f"η {rate(value)}",
    "start_learning_rate": lambda value: f"from η {rate(value)}",
    "window_tokens": lambda value: f"window {value:.0f}",
    "stride_tokens": lambda value: f"stride {value:.0f}",
    "stride_fraction": lambda value: f"stride {value:g} of the window",
    "max_tokens": lambda value: f"{value:.0f} tokens a batch",
    "epochs": lambda value: f"{value:.0f} epoch{'' if value == 1 else 's'}",
}


@dataclass(frozen=True)
class Earlier:
    """The comparison: how many settings there are, how many evaluated here, a row per number."""

    n_settings: int
    n_evaluated: int
    rows: tuple[tuple[str, ...], ...]


def earlier(frames: Frames, recorded: Path = RECORDED) -> Earlier:
    """Compare every earlier number with the runs of the same setting, one row for each of them."""
    table = pd.read_csv(recorded)
    rows, settings, found = [], set(), set()
    for row in each(table):
        name = (row.experiment, row.model, row.epochs)
        settings.add(name)
        head = (row.experiment, _setting(row), f"{row.task} {row.metric}", _value(row))
        matched, reason = same_setting(row, frames)
        here = frames.evals[frames.evals.run.isin(matched)]
        here = here[(here.task == row.task) & (here.metric == row.metric)]
        if here.empty:
            rows.append((*head, "–", "–", reason or (NOT_EVALUATED if matched else NOT_RUN)))
            continue
        found.add(name)
        named = [(f"{_value(one)}, {one.run}", *_difference(row, one)) for one in each(here)]
        rows += [(*head, *one) for one in named]
    return Earlier(len(settings), len(found), tuple(rows))


def same_setting(row: Any, frames: Frames) -> tuple[list[str], str]:
    """Return the runs of an earlier row's setting, and why there can be none ("" if there can)."""
    if row.mode == "none":
        bases = frames.final_bases
        seeds = bases[bases.model == row.model].seed
        return [f"base:{row.model}:s{seed}" for seed in seeds], ""
    absent = not_recorded(row)
    if absent:
        return [], NEVER.format(" and ".join(absent))
    runs = frames.runs
    runs = runs[runs.whole_corpus.astype(bool)]
    for column, value in PLAIN.items():
        runs = runs[runs[column] == value]
    for theirs, ours in COLUMNS.items():
        value = getattr(row, theirs)
        if not pd.isna(value):
            runs = runs[_equal(runs[ours], value)]
    return [str(run) for run in runs.run], ""


def not_recorded(row: Any) -> list[str]:
    """Return what of a training's setting is unknown: replay, rate, how the text was cut, …"""
    named = {"replay share": row.replay_ratio, "epochs": row.epochs}
    absent = [name for name, value in named.items() if pd.isna(value)]
    if pd.isna(row.lr_policy):
        absent.append("policy")
    if row.lr_policy == "warmup":
        absent.append("start and length of the warm-up")
    elif pd.isna(row.learning_rate):
        absent.append("learning rate")
    windows = (row.window_tokens, row.stride_tokens), (row.max_tokens, row.stride_fraction)
    if row.mode == "rolling" and all(pd.isna(pair).any() for pair in map(np.array, windows)):
        absent.append("window")
    return absent


def _equal(column: pd.Series, value: Any) -> pd.Series:
    if isinstance(value, str):
        return column == value
    same = np.isclose(column.astype(float), float(value), rtol=1e-6, atol=0.0)
    return pd.Series(same, index=column.index)


def _setting(row: Any) -> str:
    policy = "" if pd.isna(row.lr_policy) else str(row.lr_policy)
    kind = "" if row.mode == "none" else str(row.mode)
    words = [say(getattr(row, name)) for name, say in NUMBERS.items() if _told(row, name)]
    return ", ".join(part for part in (str(row.model), kind, policy, *words) if part)


def _told(row: Any, name: str) -> bool:
    return not pd.isna(getattr(row, name)) and not (name == "epochs" and row.mode == "none")


def _value(row: Any) -> str:
    if not np.isfinite(row.value):
        return "–"
    digits_before = int(np.log10(max(row.value, 1.0)))
    decimals = max(0, 3 - digits_before) if row.metric == "perplexity" else 4
    text = plain(row.value, decimals=decimals)
    if pd.isna(row.stderr):
        return f"{text} (no error recorded)"
    return f"{text} ± {plain(row.stderr, decimals=decimals)}"


def _difference(then: Any, here: Any) -> tuple[str, str]:
    """Return here minus then with its 95 % interval, and what it says; logarithms of perplexity.

    The errors are those of a benchmark's items: how far seeds lie apart is not in them.
    """
    log = then.metric == "perplexity"
    words = "ln ratio " if log else ""
    if not np.isfinite([then.value, here.value]).all():
        return "–", "not decidable: a value is not finite"
    far = np.log(here.value / then.value) if log else here.value - then.value
    scale = (then.value, here.value) if log else (1.0, 1.0)
    half = Z * np.hypot(then.stderr / scale[0], here.stderr / scale[1])
    text = f"{words}{plain(far, decimals=3, signed=True)}"
    if not np.isfinite(half):
        return text, "not decidable: an error is not recorded"
    reads = "not told apart" if abs(far) <= half else "differs by more than its items explain"
    return f"{text} ({between(far - half, far + half)})", reads
