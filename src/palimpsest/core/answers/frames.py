"""The tables and fits of one study, as the figures and the answers read them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from palimpsest.core.answers.settings import SETTING
from palimpsest.core.plain_runs import main_policy, plain_runs

CSV_TABLES = (
    *("runs", "experiments", "memory", "rates", "evals", "evals_checkpoints", "bases"),
    *("shifts", "neighbours"),
)
PARQUET_TABLES = ("steps", "held_out", "recall", "drift", "pieces", "repeats", "lag", "landscape")


@dataclass(frozen=True)
class Frames:
    """Every table by its file's name, without the ending, with the columns of the tables stage."""

    runs: pd.DataFrame
    experiments: pd.DataFrame
    memory: pd.DataFrame
    rates: pd.DataFrame
    evals: pd.DataFrame
    evals_checkpoints: pd.DataFrame
    bases: pd.DataFrame
    shifts: pd.DataFrame
    neighbours: pd.DataFrame
    steps: pd.DataFrame
    held_out: pd.DataFrame
    recall: pd.DataFrame
    drift: pd.DataFrame
    pieces: pd.DataFrame
    repeats: pd.DataFrame
    lag: pd.DataFrame
    landscape: pd.DataFrame
    fits: dict[str, Any]
    predictions: pd.DataFrame

    @cached_property
    def sizes(self) -> list[str]:
        """Return the names of all models, smallest first."""
        tables = (self.runs, self.rates, self.bases, self.landscape)
        parts = [frame[["model", "n_params"]] for frame in tables]
        known = pd.concat([part for part in parts if len(part)] or parts).drop_duplicates("model")
        return [str(model) for model in known.sort_values(["n_params", "model"]).model]

    @cached_property
    def final_bases(self) -> pd.DataFrame:
        """Return the finished base models, smallest first, by seed."""
        finished = self.bases[self.bases.final.astype(bool)]
        return finished.sort_values(["n_params", "seed"], ignore_index=True)

    @cached_property
    def replay_fractions(self) -> list[float]:
        """Return the replay fractions of all runs, smallest first."""
        return sorted(float(r) for r in self.runs.replay_fraction.dropna().unique())

    @cached_property
    def tolerance_nats(self) -> float:
        """Return the forgetting that counts as prevented, in nats."""
        return float(self.fits["advice"]["tolerance_nats"])

    @cached_property
    def plain_runs(self) -> pd.DataFrame:
        """Return the runs that differ only in size, policy, replay and seed."""
        return plain_runs(self.runs)

    @cached_property
    def main_policy(self) -> str:
        """Return the label of the policy that the fits over replay take ("" without runs)."""
        return main_policy(self.plain_runs)

    @cached_property
    def memory_runs(self) -> pd.DataFrame:
        """Return the memory table's runs in time order that have a shuffled control.

        One of each setting and seed: others are the same training, measured otherwise. Their runs'
        columns stand beside. Other orders have no place in the story to compare.
        """
        controlled = self.memory[self.memory.control_run.fillna("") != ""]
        rows = controlled.merge(self.runs, on="run", how="inner")
        rows = rows[rows.order == "time"].drop_duplicates([*SETTING, "seed"])
        return rows.sort_values(["n_params", "learning_rate", "run"], ignore_index=True)


def each(frame: pd.DataFrame) -> Iterable[Any]:
    """Go over the rows of a table; a row's columns are attributes."""
    return frame.itertuples()
