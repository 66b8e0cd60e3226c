"""Question 14: on which clock do the forgetting curves of all sizes and rates fall on one line?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core.answers.answer import SHARED, Answer, Question, Verdict, any_of, every
from palimpsest.core.answers.drift import CELL
from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import count, nats, percent
from palimpsest.core.clocks import LAGS
from palimpsest.core.plain_runs import SETTING, bare_runs, mixed_runs
from palimpsest.core.seeds import ENOUGH_SEEDS, over_seeds

ONE_CURVE = Question(
    14,
    words="Is collapse proportional to the achieved decrease per step (on which clock do the "
    "forgetting curves of all sizes and rates fall on one line?), and do steps that learn nothing "
    "still damage?",
    asked="Is there a clock on which the forgetting curves of pieces at all sizes and rates fall "
    "on one curve?",
    rule="Needs three settings with two sizes and two rates, of one pass in time order without "
    "replay or other protection. For each clock, every run's mean forgetting curve is predicted "
    "from the curves of the other settings (their mean in ten equally full bins); the share "
    "explained is one minus its squared error over the variance "
    "of all curves, with an interval over its own seeds for each setting of three seeds or more; "
    "the others have none and leave a clock open. A clock fits "
    f"when every setting's lies above 90 %, and does not when one lies below {SHARED}. Yes when "
    "one clock fits, no when none of those that were read does. Damage without learning: "
    "forgetting of settings of one pass whose upper bound of learning is below 0.01 nats. Beside "
    "it, for the original text: whether the runs lie on one line over the clock, what it misses on "
    "sizes and rates it has not seen (as a share of the effect), and whether that is worse than on "
    "the best clock; and what the joint law and its ablations miss on unseen data.",
    lines="""\
clocks:
  model: {sizes}
  seed: [0, 1, 2]
  policy: {kind: fixed, learning_rate: [5.0e-4, 2.0e-3, 5.0e-3]}
  checkpoints: {kind: log, count: 6}
""",
    figures=("lag",),
)
ONE_CURVE_SHARE = 0.9
IDLE_NATS = 0.01
CLOCK_WORDS = {
    "lag_steps": "steps",
    "lag_sum_learning_rate": "Σ learning rate",
    "lag_update_norm": "update norm",
    "lag_relative_drift": "relative drift",
    "lag_sum_decrease": "Σ decrease",
}
POINTS_PER_CURVE = 12
N_BINS = 10
HEADER = (
    *("clock", "one curve", "median share explained", "least", "half-lives"),
    *("original text, no replay", "original text, any replay", "joint law, nats"),
)


def one_curve(frames: Frames) -> Answer:
    """Answer question 14 from the forgetting curves of all runs without replay."""
    curves = setting_curves(frames)
    rates = curves.learning_rate.map(lambda rate: float(f"{rate:.2g}"))
    if min(curves.model.nunique(), rates.nunique(), curves.setting.nunique() - 1) < 2:
        return ONE_CURVE.not_run("forgetting curves at two sizes and two rates", frames)
    shares = {
        clock: explained(curves, clock) for clock in CLOCK_WORDS if curves[clock].notna().all()
    }
    verdicts = {
        clock: every(cells, ONE_CURVE_SHARE, among=len(shares)) for clock, cells in shares.items()
    }
    best = max(shares, key=lambda clock: float(shares[clock]["mean"].median()))
    worst = shares[best].sort_values("mean").iloc[0]
    return ONE_CURVE.answered(
        any_of(list(verdicts.values())),
        sentence=f"On the best clock, {CLOCK_WORDS[best]}, the others explain "
        f"{percent(shares[best]['mean'].median())} of the forgetting curve of the middle one of "
        f"{len(shares[best])} settings, and least of {worst.model}, {worst.policy_label} "
        f"({percent(worst['mean'])}). {_idle_words(frames)}",
        value=f"{percent(shares[best]['mean'].median())} on {CLOCK_WORDS[best]}",
        interval=f"least explained setting: {_shares(worst)}",
        header=HEADER,
        rows=tuple(_clock_row(frames, clock, shares, verdicts) for clock in CLOCK_WORDS),
    )


def _clock_row(
    frames: Frames,
    clock: str,
    shares: dict[str, pd.DataFrame],
    verdicts: dict[str, Verdict],
) -> tuple[str, ...]:
    """Return what the pieces' curves, the lines on original text and the laws say of a clock."""
    of_pieces = shares[clock]["mean"] if clock in shares else pd.Series(dtype=float)
    return (
        CLOCK_WORDS[clock],
        verdicts.get(clock, "not measured"),
        percent(of_pieces.median()),
        percent(of_pieces.min()),
        _half_lives(frames, clock),
        *(_line_words(frames.fits, clock, subset) for subset in ("without replay", "with replay")),
        _joint_words(frames.fits, clock),
    )


def _half_lives(frames: Frames, clock: str) -> str:
    """Return the range of the half-lives of the settings compared, in the clock's unit."""
    rows = pd.DataFrame(frames.fits["half_lives"])
    if rows.empty:
        return "–"
    compared = rows.merge(comparable(frames)[SETTING].drop_duplicates(), on=SETTING)
    known = compared[compared.clock == clock.removeprefix("lag_")].value.dropna()
    told = f"{count(known.min())} to {count(known.max())} ({len(known)} settings)"
    return told if len(known) else "–"


def _line_words(fits: dict[str, Any], clock: str, subset: str) -> str:
    """Return what one line over a clock misses of original text, and how it compares to others."""
    for row in fits["clocks"]:
        if (row["clock"], row["subset"]) == (LAGS[clock], subset) and not row["reason"]:
            return f"{row['one_line']}; misses {percent(row['share_of_effect'])}, {row['place']}"
    return "–"


def _joint_words(fits: dict[str, Any], clock: str) -> str:
    """Return the error of the joint law and its ablations on unseen data, the baseline beside."""
    rows = [row for row in fits["joint_ablations"] if row["clock"] == LAGS[clock]]
    known = [row for row in rows if row["error_nats"] is not None]
    if not rows:
        return "–"
    if not known:
        fitted = dict.fromkeys(row["variant"] for row in rows if row["status"] == "fitted")
        refused = "" if rows[0]["status"] == "fitted" else f"not fitted: {rows[0]['reason']}"
        parts = f"fitted {' / '.join(fitted)}, no error on unseen data" if fitted else ""
        return "; ".join(filter(None, (refused, parts)))
    told = [f"{row['variant']} {nats(row['error_nats'])}" for row in known]
    return ", ".join([*told, f"log-linear {nats(known[0]['log_linear_error_nats'])}"])


def setting_curves(frames: Frames) -> pd.DataFrame:
    """Return the mean forgetting curve of each run compared, with its setting and seed."""
    runs = comparable(frames)
    runs = runs.assign(setting=runs.groupby(CELL).ngroup())
    lag = frames.lag[frames.lag.lag_steps > 0].merge(
        runs[["run", "model", "learning_rate"]], on="run"
    )
    places = runs[["run", "setting", "seed", "policy_label"]]
    return mean_curves(lag, of="run").merge(places, on="run")


def comparable(frames: Frames) -> pd.DataFrame:
    """Return the runs in which only sizes and rates differ: nothing replayed, nothing changed."""
    runs = bare_runs(frames.runs)
    return runs[runs.replay_fraction == 0]


def explained(curves: pd.DataFrame, clock: str) -> pd.DataFrame:
    """Return which share of a setting's curves the others explain: rows of `over_seeds`.

    How far seeds lie apart differs so much between settings (the worse one is explained, the
    more) that none can lend its spread to another: fewer than three seeds have no interval.
    """
    variance = float(curves.F.var(ddof=0))
    rows = []
    for setting, ours in curves.groupby("setting"):
        expected = mean_line(curves[curves.setting != setting], clock)
        for _, run in ours.groupby("run"):
            predicted = np.interp(run[clock], *expected)
            error = float(((run.F - predicted) ** 2).mean())
            first = run.iloc[0]
            row = {name: first[name] for name in ("setting", "model", "policy_label", "seed")}
            rows.append(row | {"share": 1 - error / variance})
    keys = ["setting", "model", "policy_label"]
    cells = over_seeds(pd.DataFrame(rows), "share", by=keys, own=True)
    enough = cells.n_seeds >= ENOUGH_SEEDS
    return cells.assign(**{name: cells[name].where(enough) for name in ("stderr", "low", "high")})


def mean_line(curves: pd.DataFrame, clock: str) -> tuple[np.ndarray, np.ndarray]:
    """Return clock readings, rising, and the mean of curves there, in ten equally full bins."""
    bins = pd.qcut(curves[clock].rank(method="first"), N_BINS, labels=False).rename("bin")
    means = curves.groupby(bins)[[clock, "F"]].mean().sort_values(clock)
    return means[clock].to_numpy(), means.F.to_numpy()


def _idle_words(frames: Frames) -> str:
    """Return what settings that learned nothing forgot."""
    mixed = mixed_runs(frames.runs)
    learned = over_seeds(mixed, "learning_nats", by=CELL)
    idle = learned[learned.high < IDLE_NATS][CELL]
    if idle.empty:
        return "No setting surely learned nothing."
    forgot = over_seeds(mixed, "forgetting_nats", by=CELL).merge(idle, on=CELL)
    told = "; ".join(
        f"{row.model}, {row.policy_label}: {nats(row.mean, signed=True)} nats"
        for row in each(forgot)
    )
    harmed = int((forgot.low > 0).sum())
    return f"{len(idle)} settings learned nothing, {harmed} of them surely forgot ({told})."


def _shares(cell: pd.Series) -> str:
    known = np.isfinite([cell.low, cell.high]).all()
    return f"{percent(cell.low)} to {percent(cell.high)}" if known else "no interval"


def mean_curves(lag: pd.DataFrame, *, of: str) -> pd.DataFrame:
    """Return the mean forgetting curve of each run or setting (`of`), in twelve bins of lag."""
    known = lag.dropna(subset=["F"])
    ranks = known.groupby(of).lag_steps.rank(method="first", pct=True)
    bins = np.ceil(ranks * POINTS_PER_CURVE).astype(int)
    columns = ["learning_rate", *CLOCK_WORDS, "F"]
    means = known.groupby([of, known.model, bins.rename("bin")])[columns].mean()
    return means.reset_index()
