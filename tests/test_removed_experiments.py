"""A study without one of its experiments: that question reads "not run", the page stays whole."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic_tables as planted
from test_report import Page, built, refit

from palimpsest.core.answers.every import answers
from palimpsest.core.answers.frames import Frames
from palimpsest.core.laws.study.curves import run_curves
from palimpsest.core.laws.study.fronts import equal_learning
from palimpsest.stages import report

SIZES = {"tiny": 25_000, "small": 100_000}
BASES = ", base step 100"
EXPERIMENTS: dict[str, tuple[set[int], list[dict[str, Any]]]] = {
    "replay": ({2, 3, 7}, [{"ratio": ratio} for ratio in (0.25, 0.5, 0.75, 1.0)]),
    "follow": ({4}, [{"policy": "follow", "policy_label": "follow 1 %"}]),
    "edges": ({5}, [{"policy": "fixed", "repeats": 2, "share_beyond_edge": 0.3}]),
    "rates": (
        {6},
        [
            {"policy": "fixed", "policy_label": f"fixed {r}", "learning_rate": r}
            for r in (3e-4, 9e-4)
        ],
    ),
    "memory": ({8}, [{"repeats": 4}, {"repeats": 4, "order": "shuffled"}]),
    "epochs": ({9}, [{"epochs": 4}]),
    "difficulty": ({11}, [{"order": "easy-first"}]),
    "consolidation": ({12}, [{"ratio": 1.0, "n_phases": 2, "method": "consolidation"}]),
    "bases": ({13}, [{"policy_label": "hold 5 %" + BASES}]),
}


def whole_study(folder: Path, *, removed: str = "") -> dict[str, Path]:
    """Write the tables of a study with every experiment but one, and their fits."""
    planted.write_tables(folder / "tables", seed=1, sizes=SIZES, ratios=(0.0,))
    plain = pd.read_csv(folder / "tables" / "runs.csv")
    extra = [row for name in EXPERIMENTS if name != removed for row in rows_of(name)]
    runs = pd.concat([plain, pd.DataFrame(extra)], ignore_index=True)
    runs["loss_new_nats"] = runs.loss_new_base_nats - runs.learning_nats
    random = np.random.default_rng(1)
    memory = planted.memory_frame(runs, random)
    shuffled = runs[runs.order == "shuffled"].set_index(["model", "seed"]).run
    for place, one in enumerate(runs.itertuples()):
        if (one.repeats, one.order) == (4, "time"):
            control = {"control_run": shuffled[one.model, one.seed], "order_memory": -0.5}
            memory.loc[place, list(control)] = list(control.values())
    frames = {
        "runs.csv": runs,
        "memory.csv": memory,
        "evals.csv": planted.evals_frame(runs, random),
    }
    for name in ("steps", "held_out", "recall", "drift", "pieces", "lag"):
        frames[f"{name}.parquet"] = planted.per_run(runs, getattr(planted, f"{name}_of"), random)
    for name, frame in frames.items():
        planted.write(frame, folder / "tables" / name)
    refit(folder)
    return {"tables": folder / "tables", "fits": folder / "fits"}


def rows_of(name: str) -> list[dict[str, Any]]:
    """Return the runs of an experiment: what it changes, at each size and two seeds."""
    rows = []
    for changes in EXPERIMENTS[name][1]:
        own = {key: value for key, value in changes.items() if key not in ("ratio", "policy")}
        policy, ratio = changes.get("policy", "hold"), changes.get("ratio", 0.0)
        for model, n_params in SIZES.items():
            for seed in (0, 1):
                kind = "fixed" if policy == "fixed" else "hold"
                row = dict(planted.run_row(model, n_params, kind, ratio, seed))
                place = f"{name}-{model}-{len(rows)}-s{seed}"
                rows.append(row | own | {"policy": policy, "run": place})
    return rows


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    inputs = whole_study(tmp_path_factory.mktemp("whole"))
    return report.read(inputs["tables"], fits=inputs["fits"])


def not_run(study: Frames) -> set[int]:
    return {one.number for one in answers(study) if one.verdict == "not run"}


def without(study: Frames, name: str) -> Frames:
    """Return the study with an experiment's runs gone from every table, and compared anew."""
    tables = {field.name: getattr(study, field.name) for field in fields(study)}
    kept = {
        name_of: frame[~frame.run.str.startswith(f"{name}-")]
        for name_of, frame in tables.items()
        if isinstance(frame, pd.DataFrame) and "run" in frame
    }
    curves = run_curves(kept["runs"], kept["held_out"], kept["steps"])
    return replace(study, fits=study.fits | {"equal_learning": equal_learning(curves)}, **kept)


def test_the_whole_study_has_every_question_run(complete: Frames) -> None:
    assert not_run(complete) == set()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_without_an_experiment_its_question_is_not_run(name: str, complete: Frames) -> None:
    assert not_run(without(complete, name)) == EXPERIMENTS[name][0]


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_without_an_experiment_the_page_is_whole(name: str, tmp_path: Path) -> None:
    inputs = whole_study(tmp_path / "study", removed=name)
    out = built(inputs, tmp_path / "out")
    page = Page((out / "index.html").read_text())
    missing = {n + 1 for n, v in enumerate(page.verdicts[-15:-1]) if v == "not-run"}
    assert missing == EXPERIMENTS[name][0]
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert json.loads((out / "metrics.json").read_text())["n_runs"] > 0
