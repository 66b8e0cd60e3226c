"""Signed forgetting per piece and curves against lag → one row of memory, or of fits, per run."""

from __future__ import annotations

from dataclasses import asdict
from typing import NamedTuple

import numpy as np
import pandas as pd

from palimpsest.core.clocks import LAGS
from palimpsest.core.curves import fit_curves
from palimpsest.core.memory import memory, order_memory_over_seeds

FIT_COLUMNS = [
    *("run", "clock", "form", "height", "half_life", "exponent"),
    *("rss", "aicc", "n_points", "better"),
]


class Series(NamedTuple):
    """The measured pieces of one run: F_after and F_before as trained, F_after as in the text."""

    after: np.ndarray
    before: np.ndarray
    after_in_story: np.ndarray


def memory_table(
    pieces: pd.DataFrame,
    *,
    visits: pd.DataFrame,
    controls: dict[str, str],
    settings: dict[str, str],
) -> pd.DataFrame:
    """Return the order memory of each run that saw pieces; control_run is empty without one.

    pieces: run, piece, position_rank, F_before, F_after; visits: what `measures.visits_table`
    returned; controls: run → its run in shuffled order; settings: run → what its seeds share.
    """
    series = _series(pieces)
    left_out = pieces.groupby("run", observed=True).loss_end_nats.agg(lambda x: x.isna().sum())
    rows = []
    for run, own in series.items():
        control = controls.get(run, "")
        against = series.get(control)
        row = memory(
            own.after,
            own.before,
            against.after if against else None,
            control_in_story=against.after_in_story if against else None,
        )
        head = {"run": run, "control_run": control if against else ""}
        rows.append(head | row | {"n_pieces_left_out": int(left_out[run])})
    table = pd.DataFrame(rows, columns=None if rows else ["run"])
    table = table.merge(_over_seeds(series, controls, settings), on="run", how="left")
    return table.merge(_coming_back(visits), on="run", how="left")


def _coming_back(visits: pd.DataFrame) -> pd.DataFrame:
    """Return each run's means over the visits that another one follows.

    recovery is the share of all that had been lost in between, not the mean of the pieces' shares,
    which a piece that lost next to nothing would rule.
    """
    again = visits.dropna(subset=["F_between"])
    lost = (again.peak_nats - again.loss_after_nats).clip(lower=0)
    regained = again.anticipation_nats.where(lost > 0)
    of_run = again.assign(lost=lost, regained=regained).groupby("run", observed=True)
    sums = of_run[["lost", "regained"]].sum()
    means = of_run[["F_between", "anticipation_nats"]].mean()
    recovery = (sums.regained / sums.lost).where(sums.lost > 0)
    return (
        means.assign(recovery=recovery, n_returns=of_run.size()).reset_index().astype({"run": str})
    )


def _over_seeds(
    series: dict[str, Series],
    controls: dict[str, str],
    settings: dict[str, str],
) -> pd.DataFrame:
    """Return for each controlled run the order memory of its setting over all its seeds."""
    groups: dict[str, list[str]] = {}
    for run in sorted(controls):
        if run in series and controls[run] in series:
            groups.setdefault(settings[run], []).append(run)
    rows = []
    for members in groups.values():
        pairs = [(series[run].after, series[controls[run]].after) for run in members]
        found = order_memory_over_seeds(pairs)
        rows += [{"run": run} | found for run in members]
    table = pd.DataFrame(rows, columns=["run", "n_seeds", "order_memory", "low", "high"])
    return table.rename(columns={name: f"seeds_{name}" for name in ("order_memory", "low", "high")})


def lag_fits_table(lag: pd.DataFrame) -> pd.DataFrame:
    """Fit each run's curves on the five clocks; `better` marks the form with the lower AICc.

    Runs without enough distinct lags, or with a clock that was not read, have no rows there.
    """
    rows = []
    for run, curve in lag.groupby("run", sort=True):
        losses = curve.F.to_numpy(dtype=float)
        for clock in LAGS:
            fits = fit_curves(curve[clock].to_numpy(dtype=float), losses)
            best = min((fit.aicc for fit in fits), default=np.nan)
            head = {"run": run, "clock": clock.removeprefix("lag_")}
            rows += [head | asdict(fit) | {"better": fit.aicc == best} for fit in fits]
    return pd.DataFrame(rows, columns=FIT_COLUMNS)


def _series(pieces: pd.DataFrame) -> dict[str, Series]:
    measured = pieces.dropna(subset=["F_before", "F_after"])
    ordered = measured.sort_values(["run", "position_rank", "piece"])
    return {
        str(run): Series(
            rows.F_after.to_numpy(),
            rows.F_before.to_numpy(),
            rows.sort_values("piece").F_after.to_numpy(),
        )
        for run, rows in ordered.groupby("run", sort=True)
    }
