"""Questions 7 and 14: does drift predict forgetting, and which clock makes it one curve?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core.answers.answer import SHARED, Answer, Question, all_of, any_of, decide, every
from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import between, nats, percent, plain
from palimpsest.core.seeds import ENOUGH_SEEDS, combined, over_seeds, rank_correlation

PREDICTS = Question(
    7,
    words="Does drift (MAD), or KL, predict collapse, with and without replay?",
    asked="Among the settings of one size, does more drift of the weights go with more forgetting, "
    "with replay and without it?",
    rule="Spearman's ρ between mean absolute drift and forgetting over the settings of each size "
    "(means over seeds), once without replay and once with it; the replay-only control is left "
    "out. Sizes with five settings or more are joined on Fisher's scale, each by its precision "
    "(Bonett and Wright's error). Yes when both 95 % intervals lie above 0.5, no when one lies "
    "below; not decidable where no size has five settings.",
    lines="""\
drift:
  model: {sizes}
  seed: [0, 1]
  replay_fraction: [0.0, 0.5]
  policy:
    kind: fixed
    learning_rate: [1.0e-4, 2.0e-4, 5.0e-4, 1.0e-3, 2.0e-3, 5.0e-3, 1.0e-2]
""",
    figures=("drift",),
)
CLOCK = Question(
    14,
    words="Is collapse proportional to the achieved decrease per step (on which clock do the "
    "forgetting curves of all sizes and rates fall on one line?), and do steps that learn nothing "
    "still damage?",
    asked="Is there a clock on which the forgetting curves of pieces at all sizes and rates fall "
    "on one curve?",
    rule="Needs three settings with two sizes and two rates, without replay. For each clock, every "
    "run's mean forgetting curve is predicted from the curves of the other settings (their mean in "
    "ten equally full bins); the share explained is one minus its squared error over the variance "
    "of all curves, with an interval over its own seeds for each setting of three seeds or more; "
    "the others have none and leave a clock open. A clock fits "
    f"when every setting's lies above 90 %, and does not when one lies below {SHARED}. Yes when "
    "one clock fits, no when none of those that were read does. Damage without learning: "
    "forgetting of settings whose upper bound of learning is below 0.01 nats.",
    lines="""\
clocks:
  model: {sizes}
  seed: [0, 1, 2]
  policy: {kind: fixed, learning_rate: [5.0e-4, 2.0e-3, 5.0e-3]}
  checkpoints: {kind: log, count: 6}
""",
    figures=("lag",),
)
STRONG_RHO = 0.5
ONE_CURVE_SHARE = 0.9
IDLE_NATS = 0.01
CLOCKS = {
    "lag_steps": "steps",
    "lag_sum_learning_rate": "Σ learning rate",
    "lag_update_norm": "update norm",
    "lag_relative_drift": "relative drift",
    "lag_sum_decrease": "Σ decrease",
}
POINTS_PER_CURVE = 12
N_BINS = 10


MEASURES = {"mad_drift": "weights (MAD)", "kl_original_nats": "predictions (KL)"}
CELL = ["n_params", "model", "policy_label", "replay_fraction", "stream", "order", "repeats"]
CELL += ["epochs", "n_phases", "n_steps"]


def predicts(frames: Frames) -> Answer:
    """Answer question 7 from final drift and forgetting of each size's settings."""
    runs = frames.runs.dropna(subset=["mad_drift", "forgetting_nats"])
    means = runs.groupby(CELL, as_index=False)[[*MEASURES, "forgetting_nats"]].mean()
    sides = {
        "without replay": means[means.replay_fraction == 0],
        "with replay": means[(means.replay_fraction > 0) & (means.replay_fraction < 1)],
    }
    if min(len(side) for side in sides.values()) == 0:
        return PREDICTS.not_run("runs both with and without replay", frames)
    found = {
        (words, column): _joined(side, column)
        for words, side in sides.items()
        for column in MEASURES
    }
    drifts = [found[words, "mad_drift"] for words in sides]
    verdicts = [
        decide(low, high, yes_above=STRONG_RHO, no_below=STRONG_RHO) for _, low, high in drifts
    ]
    counts = {words: side.groupby("n_params").size() for words, side in sides.items()}
    return PREDICTS.answered(
        all_of(verdicts),
        sentence="Settings per size: "
        + "; ".join(f"{', '.join(map(str, n))} {words}" for words, n in counts.items())
        + ". Rank correlation of drift and forgetting within sizes: "
        + "; ".join(f"{plain(found[w, 'mad_drift'][0])} {w}" for w in sides)
        + ".",
        value=" / ".join(plain(rho) for rho, _, _ in drifts),
        interval=" / ".join(between(low, high, decimals=2) for _, low, high in drifts),
        header=("settings", "measure", "Spearman's ρ within sizes", "interval"),
        rows=tuple(
            (words, MEASURES[column], plain(rho), between(low, high, decimals=2))
            for (words, column), (rho, low, high) in found.items()
        ),
    )


def _joined(settings: pd.DataFrame, column: str) -> tuple[float, float, float]:
    """Return ρ of a measure with forgetting within sizes, joined over sizes, and its interval."""
    by_size = settings.dropna(subset=[column]).groupby("n_params")
    return combined([rank_correlation(ours[column], ours.forgetting_nats) for _, ours in by_size])


def one_curve(frames: Frames) -> Answer:
    """Answer question 14 from the forgetting curves of all runs without replay."""
    curves = setting_curves(frames)
    rates = curves.learning_rate.map(lambda rate: float(f"{rate:.2g}"))
    if min(curves.model.nunique(), rates.nunique(), curves.setting.nunique() - 1) < 2:
        return CLOCK.not_run("forgetting curves at two sizes and two rates", frames)
    shares = {clock: explained(curves, clock) for clock in CLOCKS if curves[clock].notna().all()}
    verdicts = {
        clock: every(cells, ONE_CURVE_SHARE, among=len(shares)) for clock, cells in shares.items()
    }
    best = max(shares, key=lambda clock: float(shares[clock]["mean"].median()))
    worst = shares[best].sort_values("mean").iloc[0]
    return CLOCK.answered(
        any_of(list(verdicts.values())),
        sentence=f"On the best clock, {CLOCKS[best]}, the others explain "
        f"{percent(shares[best]['mean'].median())} of the forgetting curve of the middle one of "
        f"{len(shares[best])} settings, and least of {worst.model}, {worst.policy_label} "
        f"({percent(worst['mean'])}). {_idle_words(frames)}",
        value=f"{percent(shares[best]['mean'].median())} on {CLOCKS[best]}",
        interval=f"least explained setting: {_shares(worst)}",
        header=("clock", "verdict", "median share explained", "least", "joint law, held-out error"),
        rows=tuple(
            (
                CLOCKS[clock],
                verdicts.get(clock, "not measured"),
                percent(shares[clock]["mean"].median()) if clock in shares else "–",
                percent(shares[clock]["mean"].min()) if clock in shares else "–",
                _joint_error(frames.fits, clock),
            )
            for clock in CLOCKS
        ),
    )


def setting_curves(frames: Frames) -> pd.DataFrame:
    """Return the mean forgetting curve of each run without replay, with its setting and seed."""
    runs = frames.runs[frames.runs.replay_fraction == 0]
    runs = runs.assign(setting=runs.groupby(CELL).ngroup())
    lag = frames.lag[frames.lag.lag_steps > 0].merge(
        runs[["run", "model", "learning_rate"]], on="run"
    )
    places = runs[["run", "setting", "seed", "policy_label"]]
    return mean_curves(lag, of="run").merge(places, on="run")


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


def _joint_error(fits: dict[str, Any], clock: str) -> str:
    """Return what the joint law misses on what it has not seen, on a clock."""
    name = {"lag_steps": "step", "lag_update_norm": "sum_update_norm"}.get(
        clock, clock.removeprefix("lag_")
    )
    record = fits["fits"].get(f"joint/{name}/whole", {})
    own = [row["error"] for row in record.get("held_out", []) if row["form"] == record["law"]]
    return f"{nats(float(np.mean(own)))} nats" if own and None not in own else "–"


def _idle_words(frames: Frames) -> str:
    """Return what settings that learned nothing forgot."""
    mixed = frames.runs[frames.runs.replay_fraction < 1]
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
    columns = ["learning_rate", *CLOCKS, "F"]
    means = known.groupby([of, known.model, bins.rename("bin")])[columns].mean()
    return means.reset_index()
