"""Recommendations: from the runs of a size, from the laws for others, and none without support."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_frames import NO_FITS, frames, run, sweep
from typer.testing import CliRunner

from palimpsest import cli
from palimpsest.core.answers.recommend import Demands, of_measured, recommend, words
from palimpsest.core.laws.study.advice import SURFACE, caused_decrease, measured
from palimpsest.core.laws.summary import plain
from palimpsest.faults import Fault

SIZES = [100_000, 400_000]


def advice(runs: list[dict[str, Any]]) -> dict[str, Any]:
    table, empty = pd.DataFrame(runs), frames([])
    return {**NO_FITS["advice"], "measured": measured(table, empty.evals, empty.rates)}


def with_laws(**changes: Any) -> dict[str, Any]:
    law = {"fit": "forgetting/replay-size", "beside": [], "reason": ""}
    laws = dict.fromkeys(("forgetting", "learning", "learning_rate"), law)
    known = {"sizes": SIZES, "ratios": [0.0, 0.5], "runs": ["a", "b"], "laws": laws}
    return {**NO_FITS["advice"], **known, **changes}


def surface(half: float = 0.01) -> pd.DataFrame:
    """Forgetting 1 - 1.2 r, learning 1 - 0.2 r, rate 1/√N, at any size, ± `half`."""
    rows = []
    for n_params in np.geomspace(1e4, 1e12, 33):
        for ratio in np.linspace(0, 1, 101)[:-1]:
            middle = {"forgetting_nats": 1 - 1.2 * ratio, "learning_nats": 1 - 0.2 * ratio}
            row = {"n_params": n_params, "replay_fraction": ratio}
            row |= {f"learning_rate{end}": n_params**-0.5 for end in ("", "_low", "_high")}
            for name, value in middle.items():
                row |= {name: value, f"{name}_low": value - half, f"{name}_high": value + half}
            rows.append(row)
    return pd.DataFrame(rows)[SURFACE]


def test_a_measured_size_takes_what_learns_most_among_the_surely_tolerable() -> None:
    study = sweep({0.0: 0.5, 0.5: 0.02, 0.75: 0.01})
    for one in study:
        one["learning_nats"] = 1 - one["replay_fraction"]
    best = of_measured(advice(study))[0]
    assert best.setting is not None
    assert (best.answer, best.setting.replay_fraction, best.setting.tokens_factor) == (
        "yes",
        0.5,
        2.0,
    )
    assert best.learning_lost_nats == pytest.approx(0.5)
    assert len(best.setting.runs) == 2


@pytest.mark.parametrize(
    ("forgetting", "answer"),
    [({0.0: 0.5, 0.5: 0.3}, "no"), ({0.0: 0.5, 0.5: 0.0499}, "not decidable")],
)
def test_without_a_surely_tolerable_setting_nothing_is_recommended(
    forgetting: dict[float, float], answer: str
) -> None:
    best = of_measured(advice(sweep(forgetting)))[0]
    assert best.setting is not None
    assert (best.answer, best.setting.replay_fraction) == (answer, 0.5)


def test_single_seeds_decide_nothing() -> None:
    best = of_measured(advice([run(forgetting_nats=0.01)]))[0]
    assert best.answer == "not decidable"
    assert "no setting was repeated" in best.why


def test_learning_can_be_demanded() -> None:
    study = sweep({0.0: 0.01, 0.5: 0.0})
    for one in study:
        one["learning_nats"] = 1 - one["replay_fraction"] + 0.001 * one["seed"]
    found = advice(study)
    assert recommend(found, surface(), 1e5, Demands(0.05, 0.9)).answer == "yes"
    assert recommend(found, surface(), 1e5, Demands(0.05, 2.0)).answer == "no"


def test_another_size_is_asked_of_the_laws() -> None:
    one = recommend(with_laws(), surface(), 4e6, Demands(0.0501))
    assert one.setting is not None
    # 1 - 1.2 r + 0.01 <= 0.0501 from r = 0.8
    assert (one.answer, one.setting.replay_fraction) == ("yes", pytest.approx(0.8))
    assert one.setting.learning_rate.value == pytest.approx(4e6**-0.5, rel=1e-3)
    assert one.setting.decrease == 0.05
    assert one.beyond == pytest.approx(10.0) and not one.loud
    assert one.source.startswith("the law forgetting/replay-size, fitted to 2 runs")


def test_far_beyond_the_fitted_sizes_it_is_loud() -> None:
    far = recommend(with_laws(), surface(), 410e6, Demands(0.05))
    assert far.beyond == pytest.approx(1025)
    assert words(far)[1].startswith("BEWARE: this size lies 1.02e+03 times beyond")
    near = recommend(with_laws(), surface(), 5e4, Demands(0.05))
    assert near.beyond == pytest.approx(2) and not near.loud


def test_a_wide_band_decides_nothing_and_shows_the_middle() -> None:
    one = recommend(with_laws(), surface(half=0.5), 4e6, Demands(0.05))
    assert one.setting is not None
    assert (one.answer, one.setting.replay_fraction) == ("not decidable", pytest.approx(0.8))


def test_where_no_law_stands_it_says_why() -> None:
    refused = {"fit": None, "beside": [], "reason": "needs 3 values of N, there are 2"}
    laws = with_laws()["laws"] | {"forgetting": refused}
    one = recommend(with_laws(laws=laws), surface(), 4e6, Demands(0.05))
    assert one.answer == "not decidable"
    assert "needs 3 values of N" in words(one)[0]
    assert one.setting is not None  # the rate is known without it
    assert one.setting.learning_rate.value == pytest.approx(4e6**-0.5, rel=1e-3)
    assert "Replay: not decidable from these runs" in "\n".join(words(one))
    nothing = recommend(with_laws(laws=dict.fromkeys(laws, refused)), surface(), 4e6, Demands(0.05))
    assert nothing.setting is None


def test_a_size_beyond_all_reason_is_refused() -> None:
    with pytest.raises(Fault, match="--params 1e\\+15"):
        recommend(with_laws(), surface(), 1e15, Demands(0.05))


def test_the_decrease_of_a_fixed_rate_is_read_off_the_probes() -> None:
    columns = frames([]).rates.columns
    rows = [
        ("small", 100, 0, 0.0, "decrease", decrease, rate, rate, rate, 8, 8)
        for decrease, rate in ((0.01, 1e-4), (0.1, 1e-2))
    ]
    rates = pd.DataFrame(rows, columns=columns)
    own = pd.DataFrame([run(decrease_asked=np.nan)])
    assert caused_decrease(own, rates, 1e-3) == pytest.approx(0.1**1.5)
    assert caused_decrease(own, rates, 1e-1) is None


def results(folder: Path, found: dict[str, Any]) -> Path:
    (folder / "fits.json").write_text(json.dumps(plain({"advice": found})))
    surface().to_csv(folder / "surface.csv", index=False)
    return folder


def typed(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, ["recommend", *arguments])


def test_the_command_answers_in_words_and_in_json(tmp_path: Path) -> None:
    found = with_laws(measured=advice(sweep({0.5: 0.02}))["measured"])
    place = ("--fits", str(results(tmp_path, found)))
    text = typed("--params", "410e6", "--max-forgetting", "0.0501", *place).output
    assert "BEWARE" in text and "Replay: 80" in text
    told = typed("--params", "410e6", "--max-forgetting", "0.0501", "--json", *place)
    content = json.loads(told.output)
    assert content["far_beyond"] is True
    assert content["setting"]["forgetting_nats"]["high"] <= 0.0501
    assert content["evidence"]["runs"] == ["a", "b"]


def test_without_results_it_says_what_to_run(tmp_path: Path) -> None:
    result = typed("--params", "1e6", "--max-forgetting", "0.05", "--fits", str(tmp_path))
    assert isinstance(result.exception, Fault)
    assert "run `palimpsest run` first" in str(result.exception)
    assert "\n" not in str(result.exception)


def test_results_without_runs_on_new_text_are_named(tmp_path: Path) -> None:
    place = results(tmp_path, with_laws())
    result = typed("--params", "1e6", "--max-forgetting", "0.05", "--fits", str(place))
    assert "no finished run" in str(result.exception)
