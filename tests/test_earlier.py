"""The earlier results beside planted runs: the same setting, another one, one never recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_frames import frames, run

from palimpsest import params as P
from palimpsest.core.answers.earlier import HEADER, RECORDED, earlier
from palimpsest.core.answers.frames import Frames
from palimpsest.core.tables.runs import settings_table
from palimpsest.experiments import runs

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "reference" / "earlier_results.csv"


def rolling(**changes: Any) -> dict[str, Any]:
    """Return the setting of rw_1, with changes."""
    setting = {
        "run": "ours",
        "model": "pythia-410m",
        "stream": "rolling",
        "policy": "fixed",
        "learning_rate": 5e-5,
        "window": 4096,
        "stride": 500,
    }
    return run(**setting | changes)


def measured(run: str, value: float, *, stderr: float = 0.003, metric: str = "acc") -> dict:
    task = "lambada_openai" if metric == "perplexity" else "hellaswag"
    return {"run": run, "task": task, "metric": metric, "value": value, "stderr": stderr}


def base(**changes: Any) -> dict[str, Any]:
    row = {"model": "pythia-410m", "seed": 0, "n_params": 1, "n_params_total": 1, "step": 1}
    return row | {"n_tokens": 1, "loss_original_nats": 3.0, "loss_new_nats": 3.0} | changes


def compared(
    planted: list[dict[str, Any]],
    evals: list[dict],
    *,
    recorded: Path = RECORDED,
    **tables: pd.DataFrame,
) -> list[dict[str, str]]:
    columns = ["run", "task", "metric", "value", "stderr"]
    planted_evals = pd.DataFrame(evals, columns=columns)
    found = earlier(frames(planted, evals=planted_evals, **tables), recorded)
    return [dict(zip(HEADER, row, strict=True)) for row in found.rows]


def of(rows: list[dict[str, str]], name: str, benchmark: str = "hellaswag acc") -> dict[str, str]:
    (row,) = (r for r in rows if r["earlier run"] == name and r["benchmark"] == benchmark)
    return row


def test_the_same_setting_is_compared_and_another_reads_not_run_here() -> None:
    rows = compared([rolling()], [measured("ours", 0.2719)])
    same = of(rows, "rw_1")
    assert same["then"] == "0.2619 ± 0.0044" and same["here"] == "0.2719 ± 0.0030, ours"
    # 1.96 √(0.0043877² + 0.003²) = 0.010418
    assert same["difference"] == "+0.010 (0.000 to 0.020)"
    assert same["reads"] == "not told apart"
    assert of(rows, "rw_2")["reads"] == "not run here"
    assert len(rows) == len(pd.read_csv(RECORDED))


def test_a_far_value_differs_and_perplexities_are_compared_by_their_ratio() -> None:
    evals = [measured("ours", 0.30), measured("ours", 4e3, stderr=0, metric="perplexity")]
    rows = compared([rolling(stride=1000)], evals)
    assert of(rows, "rw_3")["reads"] == "differs by more than its items explain"
    assert of(rows, "rw_3")["difference"].startswith("+0.030")
    # ln(4000 / 5104.27) = −0.2438; 1.96 · 341.06 / 5104.27 = 0.1310
    ratio = of(rows, "rw_3", "lambada_openai perplexity")
    assert ratio["difference"] == "ln ratio −0.244 (−0.375 to −0.113)"


@pytest.mark.parametrize(
    "change",
    [
        {"window": 2048},
        {"stride": 501},
        {"learning_rate": 5.1e-5},
        {"replay_fraction": 0.25},
        {"model": "pythia-70m"},
        {"epochs": 2},
        {"repeats": 2},
        {"order": "shuffled"},
        {"base_step": "3000"},
        {"policy": "warmup"},
        {"whole_corpus": False},
        {"method": "ewc"},
    ],
)
def test_one_other_setting_is_another_setting(change: dict[str, Any]) -> None:
    rows = compared([rolling(**change)], [measured("ours", 0.2619)])
    assert of(rows, "rw_1")["reads"] == "not run here"


def test_what_was_not_recorded_is_never_the_same() -> None:
    alike = rolling(replay_fraction=0.5, learning_rate=1e-6, policy="warmup", window=2049)
    rows = compared([alike | {"stride": 512}], [measured("ours", 0.3083)])
    assert of(rows, "combined_training_1")["reads"].startswith("not run here: start and length")
    assert "policy" in of(rows, "combined_training_4")["reads"]


def test_a_run_without_its_benchmark_reads_not_evaluated_here() -> None:
    rows = compared([rolling()], [measured("ours", 0.27)], bases=pd.DataFrame([base(final=True)]))
    assert of(rows, "rw_1", "lambada_openai acc")["reads"] == "not evaluated here"
    assert of(rows, "base")["reads"] == "not evaluated here"
    assert of(rows, "rw_2")["reads"] == "not run here"


def test_every_run_of_a_setting_has_a_row_with_its_name() -> None:
    evals = [measured("first", 0.27), measured("second", 0.28)]
    rows = compared([rolling(run="first"), rolling(run="second", seed=1)], evals)
    here = [r["here"] for r in rows if r["earlier run"] == "rw_1" and "hellaswag acc" in r.values()]
    assert here == ["0.2700 ± 0.0030, first", "0.2800 ± 0.0030, second"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_a_dash(value: float) -> None:
    evals = [measured("ours", value, stderr=value, metric="perplexity")]
    row = of(compared([rolling()], evals), "rw_1", "lambada_openai perplexity")
    assert row["here"] == "–, ours" and row["difference"] == "–"
    assert row["reads"] == "not decidable: a value is not finite"


def test_an_empty_replay_share_or_number_of_epochs_matches_nothing(tmp_path: Path) -> None:
    table = pd.read_csv(RECORDED).query("experiment == 'rw_1' and metric == 'acc_norm'")
    for column, named in (("replay_ratio", "replay share"), ("epochs", "epochs")):
        table.assign(**{column: None}).to_csv(tmp_path / "recorded.csv", index=False)
        evals = [measured("ours", 0.26, metric="acc_norm")]
        (row,) = compared([rolling()], evals, recorded=tmp_path / "recorded.csv")
        assert row["reads"].startswith(f"not run here: {named} not recorded")


def test_near_numbers_are_another_setting_however_small_they_are() -> None:
    for change in ({"replay_fraction": 1e-9}, {"learning_rate": 5e-5 + 6e-9}):
        rows = compared([rolling(**change)], [measured("ours", 0.2619)])
        assert of(rows, "rw_1")["reads"] == "not run here"


def test_bases_are_compared_too() -> None:
    name = "base:pythia-410m:s0"
    evals = [measured(name, 0.3574, stderr=0.0048), measured("base:pythia-410m@512:s0", 0.1)]
    bases = [base(final=True), base(step=512, final=False)]
    row = of(compared([run()], evals, bases=pd.DataFrame(bases)), "base")
    assert row["here"].endswith(f", {name}") and row["reads"] == "not told apart"


def test_the_earlier_study_matches_the_rows_of_its_names(tmp_path: Path) -> None:
    """Once somebody writes down what became of windows beyond the context."""
    said = (ROOT / "studies" / "earlier.yaml").read_text(encoding="utf-8")
    filled = tmp_path / "filled.yaml"
    filled.write_text(said.replace("beyond_context: unknown", "beyond_context: extrapolate"))
    found = runs(P.load(filled))
    windows = [one for one in found if one.experiment in ("rw_1", "rw_2", "rw_3")]
    assert len(windows) == 3
    settings = settings_table([entry(one) for one in windows])
    planted = [rolling(**row) for row in settings.to_dict("records")]
    rows = compared(planted, [measured(one["run"], 0.3) for one in planted])
    for name in ("rw_1", "rw_2", "rw_3"):
        assert of(rows, name)["here"].startswith("0.3000 ± 0.0030, ")


def entry(one: Any) -> dict[str, Any]:
    phase = one.trainings[-1]
    policy, stream = dict(phase.policy), dict(phase.stream)
    return {
        "run": one.experiment,
        "model": one.model,
        "n_params": 1,
        "n_params_total": 1,
        "seed": one.seed,
        "phase": {"policy": policy, "stream": stream, "replay_fraction": phase.replay_fraction},
        "label": "",
        "epochs": phase.epochs,
        "n_phases": len(one.phases),
        "method": "plain",
        "method_strength": None,
        "stop_reason": "",
        "asked_base_step": one.base_step,
    }


@pytest.mark.skipif(not SHARED.is_file(), reason="the earlier results are not beside the project")
def test_the_numbers_are_the_recorded_ones() -> None:
    assert RECORDED.read_bytes() == SHARED.read_bytes()


def test_without_runs_every_row_reads_not_run_here() -> None:
    empty: Frames = frames([])
    found = earlier(empty)
    assert found.n_evaluated == 0 and found.n_settings == 11
    assert all(row[-1].startswith("not run here") for row in found.rows)
