"""The fits stage on planted tables: known answers come back, missing data is said in words."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic_tables import FORGET, RATE, forgetting, target_rate, write_tables

from palimpsest.core.answers.forecast import compared
from palimpsest.core.laws.study import fronts
from palimpsest.core.laws.study.entry import Options, pooled_noise
from palimpsest.core.plain_runs import SETTING, bare_runs, mixed_runs
from palimpsest.stages import fits

QUICK = ["power", "replay-share", "replay-exponential", "replay-size", "replay-line"]
QUICK += ["decrease-lr", "forgetting-line"]
WAY = {"model": "m", "policy_label": "p", "stream": "chunks", "order": "time"}
WAY |= {"repeats": 1, "epochs": 1, "n_phases": 1, "n_steps": 8, "base_step": "final"}


@pytest.fixture(autouse=True)
def no_numpy_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def run_stage(folder: Path, **spec: Any) -> dict[str, Any]:
    out = folder / "out"
    out.mkdir()
    options = {"laws": QUICK, "bootstrap": 100, "seed": 0, "tolerance_nats": 0.05}
    evals = pd.read_csv(folder / "evals.csv")  # one size's benchmarks are enough, and much faster
    evals[evals.model == "tiny"].to_csv(folder / "evals.csv", index=False)
    fits.build({**options, **spec}, {"tables": folder}, out)
    found: dict[str, Any] = json.loads((out / "fits.json").read_text())
    return found


def main_ratios(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the critical ratios of forgetting under the policy that the laws are fitted to."""
    return [row for row in found["critical_ratios"] if row["task"] is None]


def shifted(folder: Path, nats: float) -> None:
    runs = pd.read_csv(folder / "runs.csv")
    runs["forgetting_nats"] += nats
    runs.to_csv(folder / "runs.csv", index=False)


@pytest.fixture(scope="module")
def default_study(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("study")
    write_tables(folder, seed=0)
    return run_stage(folder)


def test_planted_exponents_come_back(default_study: dict[str, Any]) -> None:
    rate = default_study["fits"]["rate/decrease/r=0"]
    assert rate["status"] == "fitted"
    for name in ("kappa", "nu"):
        found = rate["parameters"][name]
        assert found["value"] == pytest.approx(RATE[name], abs=0.03)
        assert found["low"] <= found["value"] <= found["high"]
    size = default_study["fits"]["forgetting/replay-size"]["parameters"]["g"]
    assert size["low"] <= FORGET["g"] <= size["high"]


def test_four_ratios_do_not_support_the_four_parameter_form(default_study: dict[str, Any]) -> None:
    alone = default_study["fits"]["forgetting/replay-share/tiny"]
    assert alone["status"] == "refused"
    assert alone["reason"] == "needs 5 values of p, there are 4"
    assert alone["parameters"] == {}


def test_the_largest_size_is_predicted_from_the_others(default_study: dict[str, Any]) -> None:
    rows = pd.DataFrame(default_study["forecast"])
    forms = compared(rows[rows.quantity == "forgetting"])
    assert list(forms.index) == ["size-power", "log-linear", "constant"]
    assert forms.n_inside["size-power"] == 4
    assert forms.error["size-power"] < forms.error["constant"]


def test_advice_holds_what_was_measured_and_which_laws_speak(
    default_study: dict[str, Any],
) -> None:
    advice = default_study["advice"]
    assert advice["sizes"] == [25_000, 100_000, 336_000, 793_000]
    assert (advice["policy"], advice["decrease"]) == ("hold 5 %", 0.05)
    assert advice["laws"]["learning_rate"]["fit"] == "rate/decrease/r=0"
    alone = [row for row in advice["measured"] if row["model"] == "large"]
    assert [row["replay_fraction"] for row in alone] == [0.0, 0.5, 0.0, 0.25, 0.5, 0.75]
    assert all(row["forgetting_nats"]["low"] < row["forgetting_nats"]["high"] for row in alone)
    fixed = {
        row["model"]: row["decrease"]
        for row in advice["measured"]
        if row["policy_label"] == "fixed 1e-03"
    }
    assert target_rate(25_000, fixed["tiny"]) == pytest.approx(1e-3, rel=0.15)
    assert fixed["large"] is None  # beyond what was probed: 10 % takes 6.4e-4


def test_the_surface_holds_the_planted_laws_between_and_beyond_the_sizes(tmp_path: Path) -> None:
    write_tables(tmp_path, seed=0)
    run_stage(tmp_path)
    surface = pd.read_csv(tmp_path / "out" / "surface.csv")
    inside = surface[surface.n_params.between(25_000, 7_930_000) & (surface.replay_fraction > 0)]
    truth = [
        forgetting(*pair) for pair in zip(inside.n_params, inside.replay_fraction, strict=True)
    ]
    held = inside.forgetting_nats_low.le(truth) & inside.forgetting_nats_high.ge(truth)
    assert held.mean() > 0.9
    rates = [target_rate(n_params, 0.05) for n_params in inside.n_params]
    assert inside.learning_rate.to_numpy() == pytest.approx(rates, rel=0.15)
    wide = surface.forgetting_nats_high - surface.forgetting_nats_low
    at_most = wide.groupby(surface.n_params).mean()
    assert at_most.iloc[-1] > 2 * at_most.loc[inside.n_params.min() :].iloc[0]


def test_fronts_have_probabilities_and_areas_with_intervals(default_study: dict[str, Any]) -> None:
    planes = [row for row in default_study["pareto"] if row["loss"] == "forgetting_nats"]
    assert [row["model"] for row in planes] == ["tiny", "small", "medium", "large"]
    for row in planes:
        assert row["hypervolume_low"] < row["hypervolume"] < row["hypervolume_high"]
        assert 0 < row["hypervolume"] < 2
        settings = pd.DataFrame(row["settings"])
        assert settings.probability.between(0, 1).all()
        assert settings[settings.member].probability.mean() > 0.5
    collapse = [row for row in default_study["pareto"] if row["loss"] == "collapse"]
    assert {row["task"] for row in collapse} == {"hellaswag_local", "lambada_local"}
    assert {row["model"] for row in default_study["pareto_checkpoints"]} == {
        *("tiny", "small", "medium", "large")
    }


def test_curves_have_bands(tmp_path: Path) -> None:
    write_tables(tmp_path, seed=0)
    run_stage(tmp_path, laws=["decrease-lr"])
    curves = pd.read_csv(tmp_path / "out" / "predictions.csv")
    rates = curves[curves.fit == "rate/decrease/r=0"]
    assert set(rates.decrease) == {0.01, 0.05, 0.1}
    assert (rates.low < rates.y).all() and (rates.y < rates.high).all()
    tidy = pd.read_csv(tmp_path / "out" / "fits.csv")
    assert {"kappa", "nu"} <= set(tidy.parameter.dropna())


@pytest.mark.parametrize(
    ("shift", "answers"),
    [
        pytest.param(0.0, {"none"}, id="no ratio suffices", marks=pytest.mark.slow),
        pytest.param(-1.3, {"none needed"}, id="no replay needed", marks=pytest.mark.slow),
        pytest.param(-0.28, {"ratio"}, id="a ratio"),
    ],
)
def test_planted_critical_ratios(tmp_path: Path, shift: float, answers: set[str]) -> None:
    write_tables(tmp_path, seed=3)
    shifted(tmp_path, shift)
    found = main_ratios(run_stage(tmp_path))
    assert {row["answer"] for row in found} == answers
    if answers == {"ratio"}:
        for row in found:
            at_low, at_high = (forgetting(row["n_params"], row[end]) for end in ("low", "high"))
            assert at_high + shift - 0.03 <= 0.05 <= at_low + shift + 0.03


def test_a_single_seed_is_not_decidable(tmp_path: Path) -> None:
    write_tables(tmp_path, seed=1, seeds=(0,))
    found = run_stage(tmp_path)
    entry = found["fits"]["forgetting/log-linear/tiny"]
    assert entry["status"] == "not decidable"
    assert entry["reason"] == "no setting was run with a second seed: no interval"
    assert entry["parameters"]["b_p"]["low"] is None
    assert {row["answer"] for row in main_ratios(found)} == {"not decidable"}


@pytest.mark.parametrize(
    ("settings", "name", "reason"),
    [
        ({"ratios": (0.0,)}, "forgetting/replay-size", "needs 3 values of p, there are 1"),
        (
            {"sizes": {"tiny": 25_000, "small": 100_000}},
            "rate/decrease/r=0",
            "needs 3 values of N, there are 2",
        ),
        ({"sizes": {"tiny": 25_000}}, "base loss/power", "needs 4 values of x, there are 1"),
    ],
)
def test_small_studies_say_what_is_missing(
    tmp_path: Path, settings: dict[str, Any], name: str, reason: str
) -> None:
    write_tables(tmp_path, seed=1, **settings)
    entry = run_stage(tmp_path)["fits"][name]
    assert (entry["status"], entry["reason"]) == ("refused", reason)


@pytest.mark.slow
def test_missing_and_repeated_rows_are_named(tmp_path: Path) -> None:
    write_tables(tmp_path, seed=1)
    runs = pd.read_csv(tmp_path / "runs.csv")
    runs.loc[runs.run == "tiny-hold-r0.25-s0", "forgetting_nats"] = float("nan")
    pd.concat([runs, runs]).to_csv(tmp_path / "runs.csv", index=False)
    reason = run_stage(tmp_path)["fits"]["forgetting/log-linear/tiny"]["reason"]
    assert "without a number left out" in reason
    assert "7 rows that repeat another left out" in reason


def test_the_same_training_with_other_checkpoints_is_no_second_seed() -> None:
    way = WAY | {"replay_fraction": 0.0}
    rows = [("a", 0, 1.0), ("again", 0, 1.0), ("b", 1, 3.0)]
    runs = pd.DataFrame([way | {"run": run, "seed": seed, "y": y} for run, seed, y in rows])
    noise = pooled_noise(runs, "y")
    assert noise is not None
    assert noise.n_free == 1
    assert noise.sigma == pytest.approx(2**0.5)  # of 1 and 3
    assert list(mixed_runs(runs).run) == ["a", "b"]


@pytest.mark.parametrize(
    ("others", "kept"),
    [
        ([{"epochs": 2}] * 2, ["r0", "r1"]),
        ([{"repeats": 4}] * 2, ["r0", "r1"]),
        ([{"stream": "rolling"}] * 2, ["r0", "r1"]),
        ([{"epochs": 2}] * 3, ["o0", "o1", "o2"]),  # the way of most runs is the usual one
    ],
)
def test_of_ways_that_as_many_runs_share_the_plainest_is_kept(
    others: list[dict[str, Any]], kept: list[str]
) -> None:
    rows = [WAY | {"run": f"r{k}", "seed": k, "replay_fraction": 0.0} for k in range(2)]
    rows += [
        WAY | {"run": f"o{k}", "seed": k, "replay_fraction": 0.0} | other
        for k, other in enumerate(others)
    ]
    assert sorted(mixed_runs(pd.DataFrame(rows[::-1])).run) == kept


def test_runs_of_another_length_are_studies_of_their_own() -> None:
    """Three runs of 8 updates, one of 4; the same setting and seed at both is no duplicate."""
    way = WAY | {"replay_fraction": 0.0}
    rows = [way | {"run": f"r{k}", "seed": k} for k in range(3)]
    rows += [way | {"run": "a half", "seed": 0, "n_steps": 4}]
    assert list(mixed_runs(pd.DataFrame(rows)).run) == ["r0", "r1", "r2"]


def test_a_policy_that_was_repeated_enough_lends_no_other_its_spread() -> None:
    """Seeds of `calm` lie .001 apart, of `wild` 1; `once`, one run, takes the spread of all."""
    way = WAY | {"n_params": 1000, "n_new_tokens": 100}
    rows = [
        way
        | {"run": f"{label}{ratio}{seed}", "policy_label": label, "seed": seed}
        | {"replay_fraction": ratio, "learning_nats": 1 + apart * seed, "loss": -apart * seed}
        for label, apart, seeds in (("calm", 0.001, 3), ("wild", 1.0, 3), ("once", 1.0, 1))
        for ratio in (0.0, 0.5)
        for seed in range(seeds)
    ]
    runs = pd.DataFrame(rows).assign(loss_error=np.nan)
    cells = runs.groupby(["n_params", *SETTING], as_index=False)
    settings = cells.agg(
        learning_nats=("learning_nats", "mean"),
        loss=("loss", "mean"),
        loss_error=("loss_error", "mean"),
        n_seeds=("seed", "nunique"),
    )
    options = Options(laws=(), n_draws=400, seed=0, tolerance_nats=0.05)
    draws = fronts.drawn(settings, runs, options)
    assert draws is not None
    spread = dict(zip(settings.policy_label, np.std(draws[0], axis=0), strict=True))
    assert spread["calm"] < 0.003 and spread["wild"] > 0.4
    assert 0.4 < spread["once"] < 1.5  # of all: 0.7, from one run


def test_runs_from_an_earlier_checkpoint_of_the_base_are_studies_of_their_own() -> None:
    rows = [WAY | {"run": f"r{k}", "seed": k, "replay_fraction": 0.0} for k in range(2)]
    early = {"base_step": "125", "policy_label": "p, base step 125"}
    rows += [rows[0] | early | {"run": "early"}]
    assert list(mixed_runs(pd.DataFrame(rows)).run) == ["r0", "r1"]


def test_a_front_of_collapse_is_drawn_with_seeds_and_items() -> None:
    """Seeds 0.3 apart in a collapse known to 0.4 over items: 0.5 together, over 3 seeds 0.436."""
    way = WAY | {"n_params": 1000}
    rows = [
        way
        | {"run": f"{ratio}{seed}", "seed": seed, "replay_fraction": ratio}
        | {"learning_nats": 1 + 0.1 * (seed - 1), "loss": 0.3 * (seed - 1)}
        for ratio in (0.0, 0.5)
        for seed in range(3)
    ]
    runs = pd.DataFrame(rows)
    settings = runs.groupby(["n_params", *SETTING], as_index=False).agg(
        learning_nats=("learning_nats", "mean"),
        loss=("loss", "mean"),
        n_seeds=("seed", "nunique"),
    )
    options = Options(laws=(), n_draws=4000, seed=0, tolerance_nats=0.05)
    of_seeds = fronts.drawn(settings.assign(loss_error=np.nan), runs, options)
    of_both = fronts.drawn(settings.assign(loss_error=0.4), runs, options)
    assert of_seeds is not None and of_both is not None
    assert (of_seeds[0] == of_both[0]).all()
    items = of_both[1] - of_seeds[1]
    assert np.std(items) == pytest.approx(0.4, rel=0.05)
    middle = np.quantile(np.abs(of_both[1]), 0.5)
    assert middle > np.quantile(np.abs(items), 0.5)


def test_a_noisy_pair_of_policies_does_not_widen_a_quiet_one() -> None:
    """Against `a`, seeds of `quiet` lie 0.01 apart and of `wild` 1; `twice` has two seeds."""
    apart = {"a": (0.0, 3), "quiet": (0.01, 3), "wild": (1.0, 3), "twice": (0.0, 2)}
    way = WAY | {"replay_fraction": 0.0}
    rows = [
        way
        | {"run": f"{label}{seed}", "policy_label": label, "seed": seed, "checkpoint_step": step}
        | {"learning_nats": step / 8, "forgetting_nats": away * (seed - 1) + 0.1 * step}
        for label, (away, n_seeds) in apart.items()
        for seed in range(n_seeds)
        for step in (0, 1, 2, 4, 8)
    ]
    found = fronts.equal_learning(pd.DataFrame(rows))
    rows_of = {(row["first"], row["second"]): row for row in found}
    quiet, wild = rows_of["a", "quiet"], rows_of["a", "wild"]
    assert (quiet["n_free"], wild["n_free"]) == (2, 2)
    assert quiet["stderr"] == pytest.approx(0.01 / 3**0.5)
    assert wild["stderr"] == pytest.approx(1 / 3**0.5)
    squares = 2 * (0.01**2 + 1 + 0.99**2) + 0 + 0.01**2 / 2 + 1 / 2  # of six pairs
    assert rows_of["a", "twice"]["n_free"] == 9
    assert rows_of["a", "twice"]["stderr"] == pytest.approx((squares / 9 / 2) ** 0.5)


def test_bare_runs_are_those_of_the_way_that_all_fits_take() -> None:
    """Two epochs are the usual way of three runs, one of them bare; two bare runs have one."""
    way = WAY | {"replay_fraction": 0.0}
    rows = [way | {"run": f"one{k}", "seed": k} for k in range(2)]
    rows += [way | {"run": "two", "seed": 0, "epochs": 2}]
    label = f"{way['policy_label']}, ewc 1"
    rows += [
        way | {"run": f"ewc{k}", "seed": k, "epochs": 2, "policy_label": label} for k in range(2)
    ]
    assert sorted(mixed_runs(pd.DataFrame(rows)).run) == ["ewc0", "ewc1", "two"]
    assert list(bare_runs(pd.DataFrame(rows)).run) == ["two"]


def test_seeds_of_a_published_base_are_one_point_and_no_interval(tmp_path: Path) -> None:
    """Four published sizes, each read under three seeds: the same weights, the same loss."""
    write_tables(tmp_path, seed=0)
    bases = pd.read_csv(tmp_path / "bases.csv")
    losses = ["loss_original_nats", "loss_new_nats"]
    bases[losses] = bases.groupby(["model", "step"])[losses].transform("first")
    bases.to_csv(tmp_path / "bases.csv", index=False)
    found = run_stage(tmp_path, laws=["power"])
    record = found["fits"]["base loss/power"]
    assert (record["n_points"], record["status"]) == (4, "not decidable")
    assert record["reason"] == "no setting was run with a second seed: no interval"
    assert {record["parameters"][name]["low"] for name in ("E", "alpha")} == {None}
    rows = [row for row in found["forecast"] if row["quantity"] == "base loss"]
    assert rows and all(row["low"] is None and row["inside"] is None for row in rows)


def test_seeds_of_a_diverging_rate_do_not_widen_what_is_said_of_another_policy(
    tmp_path: Path,
) -> None:
    """Seeds of the fixed rate lie 2 nats apart, those of the sweep 0.008."""
    write_tables(tmp_path, seed=0)
    runs = pd.read_csv(tmp_path / "runs.csv")
    fixed = runs[runs.policy == "fixed"]
    wild = pd.concat([fixed.assign(seed=k, run=fixed.run + f"-{k}") for k in (1, 2)])
    wild["forgetting_nats"] += 2.0 * wild.seed
    pd.concat([runs, wild]).to_csv(tmp_path / "runs.csv", index=False)
    found = run_stage(tmp_path, laws=["replay-exponential"])
    widths: dict[str, list[float]] = {"hold 5 %": [], "fixed 1e-03": []}
    for row in found["advice"]["measured"]:
        one = row["forgetting_nats"]
        widths[row["policy_label"]].append(one["high"] - one["low"])
    assert max(widths["hold 5 %"]) < 0.1
    assert min(widths["fixed 1e-03"]) > 1
    assert found["fits"]["forgetting/replay-exponential/tiny"]["noise"] < 0.02


@pytest.mark.slow
def test_built_twice_the_files_are_the_same(tmp_path: Path) -> None:
    texts = []
    for name in ("first", "second"):
        write_tables(tmp_path / name, seed=2)
        run_stage(tmp_path / name, laws=["decrease-lr", "replay-exponential"])
        out = tmp_path / name / "out"
        texts.append([(out / file).read_bytes() for file in sorted(p.name for p in out.iterdir())])
    assert texts[0] == texts[1]


@pytest.mark.slow
def test_the_joint_law_is_tried_on_every_clock(tmp_path: Path) -> None:
    write_tables(tmp_path, seed=0)
    found = run_stage(tmp_path, laws=["joint"])["fits"]
    clocks = {entry["group"]["clock"] for name, entry in found.items() if name.startswith("joint/")}
    assert len(clocks) == 5


def test_empty_tables_give_no_fits_and_no_error(tmp_path: Path) -> None:
    write_tables(tmp_path, seed=1, sizes={"tiny": 25_000}, ratios=(0.0,), seeds=(0,))
    for path in tmp_path.glob("*.csv"):
        pd.read_csv(path).iloc[:0].to_csv(path, index=False)
    for path in tmp_path.glob("*.parquet"):
        pd.read_parquet(path).iloc[:0].to_parquet(path, index=False)
    found = run_stage(tmp_path)
    assert all(entry["status"] == "refused" for entry in found["fits"].values())
    assert found["critical_ratios"] == found["advice"]["measured"] == []
