"""Questions 7 and 14: does drift predict forgetting, and which clock makes it one curve?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from palimpsest.core.answers.answer import Answer, Question, all_of, decide
from palimpsest.core.answers.frames import Frames
from palimpsest.core.answers.numbers import between, percent, plain
from palimpsest.core.answers.seeds import rank_correlation

PREDICTS = Question(
    7,
    words="Does drift (MAD), or KL, predict collapse, with and without replay?",
    asked="Does more drift of the weights go with more forgetting, with replay and without it?",
    rule="Spearman's ρ between mean absolute drift and forgetting over runs, once without replay "
    "and once with it (the replay-only control left out). Yes when both 95 % intervals lie above "
    "0.5; no when one lies below.",
    figures=("drift",),
)
CLOCK = Question(
    14,
    words="Is collapse proportional to the achieved decrease per step (on which clock do the "
    "forgetting curves of all sizes and rates fall on one line?), and do steps that learn nothing "
    "still damage?",
    asked="Does one curve over a single clock describe the forgetting of pieces at all sizes and "
    "rates?",
    rule="For each clock, the share of the variation of the runs' mean forgetting curves (no "
    "replay) that one common curve explains (ten bins of equally many points). Needs two sizes "
    "and two rates. Yes when the best clock's 95 % interval (runs resampled) lies above 90 %, no "
    "when it lies below.",
    figures=("lag",),
)
STRONG_RHO = 0.5
ONE_CURVE_SHARE = 0.9
CLOCKS = {
    "lag_steps": "steps",
    "lag_sum_learning_rate": "Σ learning rate",
    "lag_update_norm": "update norm",
    "lag_relative_drift": "relative drift",
    "lag_sum_decrease": "Σ decrease",
}
N_RESAMPLES = 200
POINTS_PER_CURVE = 12
N_BINS = 10


def predicts(frames: Frames) -> Answer:
    """Answer question 7 from the runs' final drift and forgetting."""
    runs = frames.runs.dropna(subset=["mad_drift", "forgetting_nats"])
    parts = {
        "without replay": runs[runs.replay_fraction == 0],
        "with replay": runs[(runs.replay_fraction > 0) & (runs.replay_fraction < 1)],
    }
    if min(len(part) for part in parts.values()) == 0:
        return PREDICTS.not_run("runs both with and without replay")
    rhos = {
        (words, column): rank_correlation(part[column], part.forgetting_nats)
        for words, part in parts.items()
        for column in ("mad_drift", "kl_original_nats")
    }
    drifts = [rhos[words, "mad_drift"] for words in parts]
    verdicts = [decide(rho[1], rho[2], yes_above=STRONG_RHO, no_below=STRONG_RHO) for rho in drifts]
    return PREDICTS.answered(
        all_of(verdicts),
        sentence="Rank correlation of drift and forgetting: "
        + "; ".join(f"{plain(rhos[w, 'mad_drift'][0])} {w}" for w in parts)
        + ".",
        value=" / ".join(plain(rho[0]) for rho in drifts),
        interval=" / ".join(between(rho[1], rho[2], decimals=2) for rho in drifts),
        header=("runs", "measure", "Spearman's ρ", "interval", "number of runs"),
        rows=tuple(
            (
                words,
                "weights (MAD)" if column == "mad_drift" else "predictions (KL)",
                plain(rho),
                between(low, high, decimals=2),
                str(len(parts[words])),
            )
            for (words, column), (rho, low, high) in rhos.items()
        ),
    )


def one_curve(frames: Frames) -> Answer:
    """Answer question 14 from the forgetting curves of all runs without replay."""
    columns = ["run", "model", "learning_rate", "replay_fraction"]
    curves = frames.lag.merge(frames.runs[columns], on="run")
    curves = mean_curves(curves[(curves.replay_fraction == 0) & (curves.lag_steps > 0)])
    if curves.model.nunique() < 2 or curves.learning_rate.nunique() < 2:
        return CLOCK.not_run("forgetting curves at two sizes and two rates")
    shares = {clock: explained(curves[clock], curves.F) for clock in CLOCKS}
    best = max(shares, key=lambda clock: np.nan_to_num(shares[clock], nan=-1))
    low, high = resampled(curves, best)
    return CLOCK.answered(
        decide(low, high, yes_above=ONE_CURVE_SHARE, no_below=ONE_CURVE_SHARE),
        sentence=f"The best clock is {CLOCKS[best]}: one curve over it explains "
        f"{percent(shares[best])} of the variation ({curves.run.nunique()} runs).",
        value=f"{percent(shares[best])} on {CLOCKS[best]}",
        interval=f"{percent(low)} to {percent(high)}",
        header=("clock", "share explained by one curve"),
        rows=tuple((CLOCKS[clock], percent(share)) for clock, share in shares.items()),
    )


def mean_curves(lag: pd.DataFrame) -> pd.DataFrame:
    """Return each run's forgetting curve: means over its pieces in twelve bins of lag in steps."""
    known = lag.dropna(subset=["F"])
    ranks = known.groupby("run").lag_steps.rank(method="first", pct=True)
    bins = np.ceil(ranks * POINTS_PER_CURVE).astype(int)
    columns = ["learning_rate", *CLOCKS, "F"]
    means = known.groupby([known.run, known.model, bins.rename("bin")])[columns].mean()
    return means.reset_index()


def explained(lag: pd.Series, forgetting: pd.Series) -> float:
    """Return the share of the variance of `forgetting` between equally full bins of `lag`."""
    known = lag.notna()
    values = forgetting[known]
    if len(values) < 2 * N_BINS:
        return float("nan")
    bins = pd.qcut(lag[known].rank(method="first"), N_BINS, labels=False)
    left = ((values - values.groupby(bins).transform("mean")) ** 2).sum()
    return float(1 - left / ((values - values.mean()) ** 2).sum())


def resampled(curves: pd.DataFrame, clock: str) -> tuple[float, float]:
    """Return the 95 % interval of `explained` over resamples of whole runs."""
    random = np.random.default_rng(0)
    by_run = [group[[clock, "F"]] for _, group in curves.groupby("run")]
    shares = []
    for _ in range(N_RESAMPLES):
        drawn = random.integers(len(by_run), size=len(by_run))
        sample = pd.concat([by_run[i] for i in drawn], ignore_index=True)
        shares.append(explained(sample[clock], sample.F))
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(low), float(high)
