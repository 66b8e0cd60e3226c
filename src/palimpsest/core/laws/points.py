"""Turns a table into the points a law is fitted to, and says what was left out and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from palimpsest.core.laws.form import Array, Law
from palimpsest.faults import Fault


@dataclass(frozen=True)
class Points:
    """Inputs by symbol and the target y, all of length n.

    `run` numbers the run a point belongs to (None on a flat table of independent points), `cell`
    numbers its setting: points of one cell differ by seed alone (or by their place in the run).
    `groups` numbers, by name, what else a validation may leave out level by level.
    """

    x: dict[str, Array]
    y: Array
    run: Array | None
    cell: Array
    n_missing: int = 0
    n_repeated: int = 0
    groups: dict[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.y)

    def where(self, keep: Array) -> Points:
        """Return the points for which `keep` holds."""
        run = None if self.run is None else self.run[keep]
        x = {name: values[keep] for name, values in self.x.items()}
        groups = {name: values[keep] for name, values in self.groups.items()}
        return replace(self, x=x, y=self.y[keep], run=run, cell=self.cell[keep], groups=groups)

    def n_distinct(self, name: str) -> int:
        """Return how many values the input takes."""
        return len(np.unique(self.x[name]))

    @property
    def n_runs(self) -> int:
        """Number of runs; of points on a flat table."""
        return len(self) if self.run is None else len(np.unique(self.run))

    @property
    def n_settings(self) -> int:
        """Number of distinct combinations of the inputs."""
        return len(np.unique(np.column_stack(list(self.x.values())), axis=0)) if self.x else 1


def gather(
    frame: pd.DataFrame,
    law: Law,
    columns: Mapping[str, str],
    *,
    run: str | None = None,
    cell: Sequence[str] = (),
) -> Points:
    """Return the points of a table whose columns are named per symbol of the law.

    Rows with a missing number are left out and counted, so are rows that repeat another one
    (with `run`: the same run at the same inputs). `cell` names the columns that say what a run's
    setting was; without them a setting is a combination of the inputs that do not change along a
    run. Raises Fault on unknown columns.
    """
    table = pd.DataFrame({s: number(frame, columns, s) for s in (*law.inputs, law.target)})
    for name in (*([run] if run else []), *cell):
        table[f"column {name}"] = column(frame, name).to_numpy()
    whole = np.isfinite(table[[*law.inputs, law.target]].to_numpy(dtype=float)).all(axis=1)
    complete: pd.DataFrame = table.loc[whole]
    keys = [f"column {run}", *law.inputs] if run else list(complete.columns)
    unique = complete.drop_duplicates(keys)
    setting = [f"column {name}" for name in cell] or steady(unique, law.inputs, run=run)
    return Points(
        x={name: unique[name].to_numpy(dtype=float) for name in law.inputs},
        y=unique[law.target].to_numpy(dtype=float),
        run=pd.factorize(unique[f"column {run}"])[0] if run else None,
        cell=unique.groupby(setting, dropna=False).ngroup().to_numpy()
        if setting
        else zeros(unique),
        n_missing=len(table) - len(complete),
        n_repeated=len(complete) - len(unique),
    )


def steady(table: pd.DataFrame, inputs: Sequence[str], *, run: str | None) -> list[str]:
    """Return the inputs that have one value in each run; all of them where rows are no runs."""
    if run is None:
        return list(inputs)
    changes = table.groupby(f"column {run}")[list(inputs)].nunique().max() > 1
    return [name for name in inputs if not changes[name]]


def zeros(table: pd.DataFrame) -> Array:
    """Put all points into one cell: a law without inputs has a single setting."""
    return np.zeros(len(table), dtype=int)


def number(frame: pd.DataFrame, columns: Mapping[str, str], symbol: str) -> Array:
    """Return the column that stands for a symbol of a law as floats."""
    if symbol not in columns:
        raise Fault(f"columns: nothing stands for {symbol}; write {symbol}=<column>")
    return pd.to_numeric(column(frame, columns[symbol]), errors="coerce").to_numpy(dtype=float)


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """Return a column; a Fault names those there are."""
    if name not in frame:
        raise Fault(f"columns: no column {name!r}; the table has {', '.join(map(str, frame))}")
    return frame[name]
