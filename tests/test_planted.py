"""Planted studies with a known yes, a known no and no way to know: what the fits make of them."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic_tables
from report_frames import NO_FITS, frames
from synthetic_tables import HALF_LIFE_STEPS, forgetting, learning, target_rate, write_tables

from palimpsest.core.answers import rates as rate_answers
from palimpsest.core.laws.study.clocks import clocks
from palimpsest.core.laws.study.critical import of_benchmarks, of_policies
from palimpsest.core.laws.study.curves import curve_points
from palimpsest.core.laws.study.derived import (
    cost_of_replay,
    forgetting_per_nat,
    half_lives,
    rates_by_size,
)
from palimpsest.core.laws.study.entry import Entry, Options, pooled_noise
from palimpsest.core.laws.study.forms import form_fits
from palimpsest.core.laws.study.rates import rate_fits
from palimpsest.core.laws.study.replay import main_sweep, other_sweeps, per_size
from palimpsest.core.laws.summary import plain

WAY = {"stream": "chunks", "order": "time", "repeats": 1, "epochs": 1}
WAY |= {"n_phases": 1, "n_steps": 64, "base_step": "final"}

OPTIONS = Options(
    laws=("replay-exponential", "replay-line", "decrease-lr", "joint"),
    n_draws=200,
    seed=0,
    tolerance_nats=0.05,
)


@pytest.fixture(autouse=True)
def no_numpy_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def over_replay(runs: pd.DataFrame, what: str) -> list[Entry]:
    """Fit one quantity over replay to each size, as the stage does."""
    noise = pooled_noise(runs, f"{what}_nats")
    return per_size(main_sweep(runs), f"{what}_nats", what=what, noise=noise, options=OPTIONS)


# Rates over size (question 1)


@pytest.mark.parametrize(
    ("kappa", "seeds", "verdict"),
    [(0.25, (0, 1, 2), "yes"), (0.0, (0, 1, 2), "no"), (0.25, (0,), "not decidable")],
    ids=["falls with size", "the same at every size", "one seed"],
)
def test_does_the_rate_change_with_size(
    tmp_path: Path, monkeypatch: Any, kappa: float, seeds: tuple[int, ...], verdict: str
) -> None:
    monkeypatch.setitem(synthetic_tables.RATE, "kappa", kappa)
    write_tables(tmp_path, seed=0, seeds=seeds)
    rates = pd.read_csv(tmp_path / "rates.csv")
    records = {entry.name: plain(entry.record) for entry in rate_fits(rates, OPTIONS)}
    study = frames([], rates=rates, fits=NO_FITS | {"fits": records})
    assert rate_answers.by_size(study).verdict == verdict


def test_rates_are_given_at_every_size_and_far_beyond(tmp_path: Path) -> None:
    write_tables(tmp_path, seed=0)
    rates = pd.read_csv(tmp_path / "rates.csv")
    rows = pd.DataFrame(rates_by_size(rate_fits(rates, OPTIONS), rates, OPTIONS))
    assert set(rows.target) == {"decrease", "best", "edge"}
    assert set(rows.replay_fraction) == {0.0}
    mine = rows[(rows.target == "decrease") & (rows.decrease == 0.05)]
    assert list(mine.n_params) == [25_000, 100_000, 336_000, 793_000, 7_930_000]
    for row in mine.itertuples():
        assert row.low < target_rate(row.n_params, 0.05) < row.high
    widths = np.log(mine.high / mine.low).to_numpy()
    assert widths[-1] > widths[1]  # farther from the sizes that were probed, less is known


# What replay costs in learning (question 3), and forgetting per nat learnt


@pytest.mark.parametrize("cost", [0.3, 0.0])
def test_what_replay_costs_by_its_law(tmp_path: Path, monkeypatch: Any, cost: float) -> None:
    monkeypatch.setattr(synthetic_tables, "learning", lambda n_params, p: 0.8 * (1 - cost * p))
    runs = write_tables(tmp_path, seed=0)
    found = cost_of_replay(main_sweep(runs), over_replay(runs, "learning"), OPTIONS)
    rows = [row for row in found if row["replay_fraction"] == 0.75]
    held = [row["low"] <= 0.75 * cost * 0.8 <= row["high"] for row in rows]
    assert sum(held) >= 3  # of four sizes


def test_one_seed_gives_no_cost_of_replay(tmp_path: Path) -> None:
    runs = write_tables(tmp_path, seed=0, seeds=(0,))
    rows = cost_of_replay(main_sweep(runs), over_replay(runs, "learning"), OPTIONS)
    assert {(row["value"], row["reason"]) for row in rows} == {(None, "no fit with an interval")}


def test_forgetting_per_nat_is_that_of_the_laws(tmp_path: Path) -> None:
    runs = write_tables(tmp_path, seed=0)
    both = over_replay(runs, "forgetting"), over_replay(runs, "learning")
    rows = forgetting_per_nat(main_sweep(runs), *both, OPTIONS)
    bare = [row for row in rows if row["replay_fraction"] == 0 and row["value"] is not None]
    assert bare
    for row in bare:
        size = row["n_params"]
        assert row["value"] == pytest.approx(forgetting(size, 0) / learning(size, 0), rel=0.15)


# Benchmarks


@pytest.mark.parametrize(
    ("levels", "answer"),
    [
        ((0.5, 0.05, 0.0, 0.0), "ratio"),
        ((0.0, 0.0, 0.0, 0.0), "none needed"),
        ((0.6, 0.5, 0.45, 0.4), "none"),
        ((0.5, 0.25, 0.15, 0.1), "not decidable"),
    ],
)
def test_critical_ratio_of_a_benchmark(levels: tuple[float, ...], answer: str) -> None:
    way = WAY | {"model": "m", "n_params": 1000, "policy_label": "hold 5 %", "decrease_asked": 0.05}
    ratios = (0.0, 0.25, 0.5, 0.75)
    runs = pd.DataFrame([way | {"run": f"r{p}", "seed": 0, "replay_fraction": p} for p in ratios])
    evals = pd.DataFrame({"run": runs.run, "collapse": levels, "collapse_stderr": 0.02})
    evals = evals.assign(task="t", metric="acc", tolerance=0.1, n_items=400)
    entries, rows = of_benchmarks(runs, evals, OPTIONS)
    assert {entry.record["resampling"] for entry in entries if entry.usable} == {"runs"}
    (row,) = rows
    assert (row["answer"], row["task"], row["decrease"]) == (answer, "t", 0.05)
    if answer == "ratio":
        assert 0 < row["low"] <= row["value"] <= row["high"] < 0.5


TRUE_RATIO = np.exp(-1.5) - 0.01  # where -0.05 - 0.1 ln(r + 0.01) meets the tolerance of 0.1
BARE = Options(laws=(), n_draws=200, seed=0, tolerance_nats=0.05)  # `log-linear` and `constant`
HOLD = {"model": "m", "n_params": 1000, "policy_label": "hold 5 %", "decrease_asked": 0.05}


def collapsing(
    apart: float, *, items: float, seed: int, seeds: int = 3, shared: float = 0.0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs and benchmark of -0.05 - 0.1 ln(r + 0.01); seeds lie `apart`, settings `shared`."""
    random = np.random.default_rng(seed)
    runs, evals = [], []
    for ratio in (0.0, 0.1, 0.2, 0.3, 0.5, 0.75):
        moved = -0.05 - 0.1 * np.log(ratio + 0.01) + shared * random.standard_normal()
        for k in range(seeds):
            name = f"r{ratio}-{k}"
            runs.append(WAY | HOLD | {"run": name, "seed": k, "replay_fraction": ratio})
            evals.append({"run": name, "collapse": moved + apart * random.standard_normal()})
    scores = pd.DataFrame(evals).assign(collapse_stderr=items, n_items=400)
    return pd.DataFrame(runs), scores.assign(task="t", metric="acc", tolerance=0.1)


def ratio_found(runs: pd.DataFrame, evals: pd.DataFrame) -> dict[str, Any]:
    (row,) = of_benchmarks(runs, evals, BARE)[1]
    return row


@pytest.mark.parametrize(("apart", "shared"), [(0.05, 0.002), (0.002, 0.03)])
def test_a_critical_ratio_is_as_uncertain_as_seeds_and_items_leave_it(
    apart: float, shared: float
) -> None:
    """Seeds far beyond the items' error, and items that all three seeds share."""
    held = []
    for seed in range(20):
        row = ratio_found(*collapsing(apart, items=shared, seed=seed, shared=shared))
        held.append(row["low"] <= TRUE_RATIO <= (row["high"] or 1.0))
    assert sum(held) >= 17  # 95 of 100 should: fewer than 17 of 20 come less than once in 50


def test_seeds_that_lie_apart_widen_the_critical_ratio() -> None:
    """The same means with seeds 0.1 apart: squares 0.02 over 2 free, and three times the items'."""
    runs, evals = collapsing(0.0, items=0.01, seed=0)
    wide = evals.assign(collapse=evals.collapse + 0.1 * (runs.seed - 1))
    close, far = ratio_found(runs, evals), ratio_found(runs, wide)
    assert far["high"] - far["low"] > 3 * (close["high"] - close["low"])
    entries, _ = of_benchmarks(runs, wide, BARE)
    (noise,) = {entry.record["noise"] for entry in entries if entry.fit.fitted}
    assert noise == pytest.approx((0.1**2 + 3 * 0.01**2) ** 0.5)


def test_a_fit_misses_points_only_beyond_the_spread_of_seeds() -> None:
    """The means lie off any falling curve by 0.1: many items' errors, one spread over seeds."""
    runs, evals = collapsing(0.0, items=0.01, seed=0)
    off = evals.assign(collapse=evals.collapse + 0.1 * runs.replay_fraction.isin([0.1, 0.3]))
    wide = off.assign(collapse=off.collapse + 0.15 * (runs.seed - 1))
    for table, misses in ((off, True), (wide, False)):
        entries, _ = of_benchmarks(runs, table, BARE)
        told = {entry.fit.law.name: entry.misses for entry in entries}
        assert told["log-linear"] is misses


def test_one_seed_leaves_a_benchmark_its_items_error() -> None:
    runs, evals = collapsing(0.01, items=0.02, seed=0, seeds=1)
    entries, _ = of_benchmarks(runs, evals, BARE)
    assert {entry.record["noise"] for entry in entries if entry.fit.fitted} == {0.02}


def test_a_further_policy_has_critical_ratios_of_its_benchmarks() -> None:
    """Its own seeds lie close; those of the main policy, run at one ratio more, do not."""
    runs, evals = collapsing(0.05, items=0.01, seed=0)
    other, scores = collapsing(0.01, items=0.01, seed=1)
    fewer = other.replay_fraction > 0.1
    label = {"policy_label": "hold 1 %", "decrease_asked": 0.01}
    other = other[fewer].assign(**label, run=other.run + "-other")
    scores = scores[fewer].assign(run=scores.run + "-other", collapse=0.0)
    scores["collapse"] += 0.01 * (other.seed - 1)
    entries, rows = of_benchmarks(pd.concat([runs, other]), pd.concat([evals, scores]), BARE)
    assert [(row["policy_label"], row["decrease"]) for row in rows] == [
        ("hold 5 %", 0.05),
        ("hold 1 %", 0.01),
    ]
    assert {(row["task"], row["metric"]) for row in rows} == {("t", "acc")}
    assert rows[1]["answer"] == "none needed"
    assert rows[1]["fit"].endswith("/m, hold 1 %")
    noise = {entry.name: entry.record["noise"] for entry in entries if entry.fit.fitted}
    assert noise["collapse of t by acc/constant/m, hold 1 %"] == pytest.approx(0.02)  # 1 + 3
    assert noise["collapse of t by acc/constant/m"] > 0.03


def test_another_policy_at_enough_ratios_gets_its_own_critical_ratio(tmp_path: Path) -> None:
    runs = write_tables(tmp_path, seed=0)
    assert other_sweeps(runs) == {}  # the fixed rate was run at two ratios
    half = runs[runs.policy == "hold"].assign(policy_label="hold 2 %", decrease_asked=0.02)
    both = pd.concat([runs, half.assign(run=half.run + "-2", forgetting_nats=-0.2)])
    assert set(main_sweep(both).policy_label) == {"hold 5 %"}
    noise = pooled_noise(both, "forgetting_nats")
    entries, rows = of_policies(other_sweeps(both), noise, OPTIONS)
    assert {(row["policy_label"], row["decrease"]) for row in rows} == {("hold 2 %", 0.02)}
    assert {row["answer"] for row in rows} == {"none needed"}
    assert all(entry.name.endswith(", hold 2 %") for entry in entries)


# Half-lives


def test_half_lives_are_those_planted(tmp_path: Path) -> None:
    runs = write_tables(tmp_path, seed=0)
    lag_fits = pd.read_csv(tmp_path / "lag_fits.csv")
    rows = pd.DataFrame(half_lives(lag_fits, runs, OPTIONS))
    steps = rows[rows.clock == "steps"]
    assert set(steps.form) == {"exponential"}
    held = (steps.low <= HALF_LIFE_STEPS) & (steps.high >= HALF_LIFE_STEPS)
    assert held.mean() > 0.8
    assert (steps.high / steps.low).min() > 1


# Clocks (question 14)


def curves(
    *, g: float = 0.0, seeds: tuple[int, ...] = (0, 1, 2), noise: float = 0.006
) -> pd.DataFrame:
    """Runs of three sizes at three rates that forget with the sum of rates, and N^-g."""
    random = np.random.default_rng(0)
    sizes, rates, ratios = (25e3, 1e5, 8e5), (1e-3, 2e-3, 4e-3), (0.0, 0.25, 0.5)
    frames = []
    for n_params, rate, ratio, seed in itertools.product(sizes, rates, ratios, seeds):
        step = np.array([4, 8, 16, 32, 64])
        clock = step * rate
        lost = 2 * (1 - (1 + 20 * clock) ** -0.7) * (1 + 8 * ratio) ** -0.6
        lost = lost * (n_params / 1e5) ** -g + noise * random.standard_normal()
        frame = pd.DataFrame({"checkpoint_step": step, "step": step, "sum_learning_rate": clock})
        frame = frame.assign(
            **WAY,
            run=f"{n_params:g}-{rate:g}-{ratio:g}-{seed}",
            model=f"m{n_params:g}",
            n_params=n_params,
            seed=seed,
            policy_label=f"fixed {rate:g}",
            replay_fraction=ratio,
            sum_update_norm=clock * np.sqrt(n_params),
            relative_drift=clock * n_params**0.3,
            sum_decrease=np.nan,
            n_new_tokens=512 * step,
            annealing_area=0.0,
            forgetting_nats=lost,
            loss_original_nats=4 + lost,
            loss_new_nats=5 - np.log1p(20 * clock),
        )
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def test_the_planted_clock_lays_all_runs_on_one_line() -> None:
    rows = pd.DataFrame(clocks(curves(), OPTIONS)).set_index(["subset", "clock"])
    for subset in ("without replay", "with replay"):
        assert rows.place[subset, "sum_learning_rate"] == "best"
        assert rows.one_line[subset, "sum_learning_rate"] == "yes"
        for other in ("step", "sum_update_norm", "relative_drift"):
            assert rows.place[subset, other] == "worse"
            assert rows.one_line[subset, other] == "no"
            assert rows.low[subset, other] > 0
        assert rows.place[subset, "sum_decrease"] == "not decidable"
        assert rows.reason[subset, "sum_decrease"] == "needs two sizes and two rates on this clock"


def test_sizes_on_lines_of_their_own_are_not_one_line() -> None:
    rows = pd.DataFrame(clocks(curves(g=0.15), OPTIONS))
    told = rows[rows.clock == "sum_learning_rate"]
    assert set(told.one_line) == {"no"}


def test_runs_with_a_penalty_say_nothing_of_sizes_and_rates() -> None:
    plain_rows = curves(seeds=(0,))
    penalty = plain_rows.assign(
        run=plain_rows.run + "-ewc", policy_label=plain_rows.policy_label + ", ewc 10"
    )
    both = pd.concat([plain_rows, penalty.assign(forgetting_nats=0.0)])
    points = curve_points(both, "sum_learning_rate")
    assert points.n_runs == plain_rows.run.nunique()
    assert points.y.min() > 0


def test_one_seed_cannot_say_whether_it_is_one_line() -> None:
    rows = pd.DataFrame(clocks(curves(seeds=(0,)), OPTIONS))
    assert set(rows.one_line) == {"not decidable"}


# Published forms on the study's curves


@pytest.mark.slow
def test_every_published_form_is_fitted_or_says_what_is_missing(tmp_path: Path) -> None:
    names = ("chinchilla", "repeated-data", "injection", "d-cpt", "cpt-dynamics", "cmr-critical")
    runs = write_tables(tmp_path, seed=0)
    bases = pd.read_csv(tmp_path / "bases.csv")
    options = Options(laws=names, n_draws=50, seed=0, tolerance_nats=0.05)
    entries = form_fits(curves().iloc[:0], runs, bases, options)
    assert {entry.record["law"] for entry in entries} >= {"chinchilla", "repeated-data"}
    whole = form_fits(curves(seeds=(0, 1)), runs, bases, options)
    assert {entry.record["law"] for entry in whole} == set(names)
    for entry in [*entries, *whole]:
        assert entry.record["status"] in ("fitted", "refused", "not decidable")
        assert entry.record["reason"]


def test_injection_comes_back_from_curves_drawn_from_it(tmp_path: Path) -> None:
    runs = write_tables(tmp_path, seed=0)
    steps = curves(seeds=(0, 1))
    exact = 8 * steps.n_new_tokens**0.4 / ((1 + 30 * steps.replay_fraction) * steps.n_params) ** 0.5
    kicks = pd.Series(0.005 * np.random.default_rng(1).standard_normal(54), steps.run.unique())
    planted = steps.assign(forgetting_nats=exact + steps.run.map(kicks))
    options = Options(laws=("injection",), n_draws=100, seed=0, tolerance_nats=0.05)
    (found,) = form_fits(planted, runs, pd.read_csv(tmp_path / "bases.csv"), options)
    assert found.record["status"] == "fitted"
    for name, value in (("beta", 0.4), ("alpha", 0.5)):
        assert found.record["parameters"][name]["value"] == pytest.approx(value, abs=0.05)
    error = {(row["split"], row["form"]): row["error"] for row in found.record["held_out"]}
    for split in ("last half of T left out", "each rate left out in turn"):
        assert error[split, "injection"] < error[split, "log-linear"] < error[split, "constant"]
    why = {row["split"]: row["reason"] for row in found.record["held_out"] if row["reason"]}
    assert why == {  # of three, two are too few
        "each p left out in turn": "needs 3 values of p, there are 2",
        "largest N left out": "needs 3 values of N, there are 2",
    }
