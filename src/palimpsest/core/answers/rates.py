"""Questions 1, 5 and 6: rates against size, steps beyond the edge, rates that never learn."""

from __future__ import annotations

import numpy as np
import pandas as pd

from palimpsest.core.answers.answer import Answer, Question, decide
from palimpsest.core.answers.fitted import parameter, reason
from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import between, count, nats, percent, plain, rate
from palimpsest.core.answers.seeds import mean_interval, over_seeds

BY_SIZE = Question(
    1,
    words="How do the loss decrease per step, the rate for a given decrease, the best decrease and "
    "the edge depend on model size?",
    asked="Does the rate that gives a certain decrease in one step change with model size?",
    rule="κ is fitted to the probes: the rate falls with the number of parameters to the power "
    "κ. Yes when its 95 % interval leaves out zero; no when the interval lies within ±0.05.",
    figures=("rates", "landscape"),
)
BEYOND = Question(
    5,
    words="Why does a fixed rate sometimes raise the loss?",
    asked="Does a fixed rate lie beyond the step's own edge on more than 5 % of the steps?",
    rule="Mean over the fixed-rate runs whose steps were measured. Yes when the 95 % interval lies "
    "above 5 %, no when it lies below.",
)
NEVER = Question(
    6,
    words="What happens beyond the edge, and are there sensible rates that never learn?",
    asked="Are there rates below the edge at which a run learns nothing?",
    rule="Needs runs on the new text at three or more rates in one size. A setting below its "
    "size's median edge learned nothing when the upper 95 % bound of its learning on unseen "
    "episodes is below 0.01 nats. Yes when there is one; no when the lower bounds of all lie "
    "above. The interval is that of a setting's own seeds, of which it needs three; with fewer "
    "it borrows the spread of the others.",
    figures=("landscape",),
)
FLAT_EXPONENT = 0.05
RATE_FIT = "rate/decrease/r=0"
FEW_STEPS = 0.05
NOTHING_LEARNED_NATS = 0.01
ENOUGH_SEEDS = 3
SETTING = ["model", "policy_label", "replay_fraction", "order", "repeats", "epochs", "n_steps"]


def by_size(frames: Frames) -> Answer:
    """Answer question 1 from the fitted exponent and the probes' medians."""
    medians = probe_medians(frames.rates)
    if medians.empty:
        return BY_SIZE.not_run("probe that found a rate")
    header, rows = _rate_rows(medians)
    kappa = parameter(frames.fits, RATE_FIT, "kappa")
    if kappa is None:
        sentence = f"No exponent: {reason(frames.fits, RATE_FIT)}. The table is measured."
        return BY_SIZE.answered("not decidable", sentence=sentence, header=header, rows=rows)
    value, low, high = kappa
    verdict = decide(abs_low(low, high), abs_high(low, high), yes_above=0, no_below=FLAT_EXPONENT)
    return BY_SIZE.answered(
        verdict,
        sentence=f"With ten times the parameters the rate for the same decrease is "
        f"{plain(10**-value)} times as high. Measured medians stand in the table.",
        value=f"κ = {plain(value)}",
        interval=between(low, high, decimals=2),
        header=header,
        rows=rows,
    )


def probe_medians(rates: pd.DataFrame) -> pd.DataFrame:
    """Return the found rates at the lowest replay, medians over seeds, with a column `wanted`."""
    lowest = rates[rates.replay_fraction == rates.replay_fraction.min()]
    named = lowest.assign(
        wanted=[
            percent(row.decrease) if row.target == "decrease" else row.target
            for row in each(lowest)
        ]
    )
    columns = ["decrease", "median_learning_rate", "q1", "q3", "n_found", "n_batches"]
    keys = ["model", "n_params", "target", "wanted"]
    medians = named.groupby(keys, as_index=False)[columns].median()
    return medians.sort_values(["n_params", "median_learning_rate"], ignore_index=True)


def beyond_edge(frames: Frames) -> Answer:
    """Answer question 5 from the measured share of steps beyond the edge."""
    runs = frames.runs[frames.runs.policy == "fixed"].dropna(subset=["share_beyond_edge"])
    if runs.empty:
        return BEYOND.not_run("fixed-rate run whose steps were measured against their edge")
    mean, low, high = mean_interval(runs.share_beyond_edge)
    return BEYOND.answered(
        decide(low, high, yes_above=FEW_STEPS, no_below=FEW_STEPS),
        sentence=f"Over {len(runs)} runs at a fixed rate, {percent(mean, decimals=1)} of the steps "
        f"went beyond their edge, at most {percent(runs.share_beyond_edge.max(), decimals=1)}.",
        value=percent(mean, decimals=1),
        interval=f"{percent(low, decimals=1)} to {percent(high, decimals=1)}",
        header=("size", "rate", "replay", "steps beyond their edge", "learning, nats"),
        rows=_by_rate(runs),
    )


def never_learn(frames: Frames) -> Answer:
    """Answer question 6 from runs at several rates, below and beyond their size's edge."""
    on_text = (frames.runs.replay_fraction < 1) & (frames.runs.stream != "questions")
    runs = frames.runs[on_text].dropna(subset=["learning_nats"])
    edges = (
        frames.rates[frames.rates.target == "edge"].groupby("model").median_learning_rate.median()
    )
    runs = runs.assign(edge=runs.model.map(edges)).dropna(subset=["edge"])
    rounded = runs.learning_rate.map(rate)
    if runs.empty or rounded.groupby(runs.model).nunique().max() < 3:
        return NEVER.not_run("runs at three or more rates in one size with a known edge")
    below, beyond = runs[runs.learning_rate <= runs.edge], runs[runs.learning_rate > runs.edge]
    settings = _learning(below)
    idle = settings[settings.high < NOTHING_LEARNED_NATS]
    all_learn = bool((settings.low > NOTHING_LEARNED_NATS).all())
    worst = (
        f", the least {plain(beyond.learning_nats.min(), decimals=3)} nats" if len(beyond) else ""
    )
    return NEVER.answered(
        "yes" if len(idle) else ("no" if all_learn else "not decidable"),
        sentence=f"{len(idle)} of {len(settings)} settings below the edge learned nothing; "
        f"{len(beyond)} runs went beyond it{worst}.",
        value=f"{len(idle)} of {len(settings)} settings",
        interval="by each setting's interval over seeds",
        header=("size", "policy", "replay", "rate over edge", "learning, nats", "interval"),
        rows=_by_setting(runs),
    )


def _by_rate(runs: pd.DataFrame) -> tuple[tuple[str, ...], ...]:
    """Return one row per size, rate and replay: means over the runs."""
    keys = ["n_params", "model", "learning_rate", "replay_fraction"]
    means = runs.groupby(keys)[["share_beyond_edge", "learning_nats"]].mean().reset_index()
    return tuple(
        (
            row.model,
            rate(row.learning_rate),
            percent(row.replay_fraction),
            percent(row.share_beyond_edge, decimals=1),
            nats(row.learning_nats, signed=True),
        )
        for row in each(means)
    )


def _learning(runs: pd.DataFrame) -> pd.DataFrame:
    """Return mean and interval of what each setting learned; steps that do nothing vary less."""
    table = over_seeds(runs, "learning_nats", by=SETTING).set_index(SETTING)
    alone = runs.drop_duplicates([*SETTING, "seed"]).groupby(SETTING).learning_nats
    for setting, values in alone:
        if len(values) >= ENOUGH_SEEDS:
            table.loc[setting, ["low", "high"]] = mean_interval(values)[1:]
    return table.reset_index()


def _by_setting(runs: pd.DataFrame) -> tuple[tuple[str, ...], ...]:
    """Return one row per setting, the lowest rate first, on both sides of the edge."""
    distance = (runs.learning_rate / runs.edge).groupby([runs[key] for key in SETTING]).mean()
    settings = _learning(runs)
    settings = settings.join(distance.rename("distance"), on=SETTING)
    return tuple(
        (
            row.model,
            row.policy_label,
            percent(row.replay_fraction),
            rate(row.distance),
            nats(row.mean, signed=True),
            between(row.low, row.high),
        )
        for row in each(settings.sort_values(["model", "distance"]))
    )


def abs_low(low: float, high: float) -> float:
    """Return the smallest magnitude in an interval: 0 when it holds zero."""
    return 0.0 if low <= 0 <= high else float(min(abs(low), abs(high)))


def abs_high(low: float, high: float) -> float:
    """Return the largest magnitude in an interval."""
    return float(np.maximum(abs(low), abs(high)))


def _rate_rows(medians: pd.DataFrame) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    found = medians[medians.target != "largest_decrease"]
    order = list(found.groupby("wanted").median_learning_rate.median().sort_values().index)
    largest = medians[medians.target == "largest_decrease"].set_index("model").decrease
    rows = []
    for model, ours in found.groupby("model", sort=False):
        by_target = ours.set_index("wanted").median_learning_rate
        rows.append(
            (
                f"{model} ({count(ours.n_params.iloc[0])})",
                *(rate(by_target.get(wanted, np.nan)) for wanted in order),
                percent(largest.get(model, np.nan), decimals=1),
            )
        )
    names = [w if w in ("best", "edge") else f"η for {w}" for w in order]
    return ("size", *names, "largest decrease"), tuple(rows)
