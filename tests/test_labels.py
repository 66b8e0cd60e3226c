"""The names of settings in tables and figures: short, in words, and one for each setting."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from palimpsest import experiments, params
from palimpsest.experiments import Phase, Run
from palimpsest.labels import setting_label

STUDIES = ("default", "smoke", "modes", "full", "rates", "pythia", "earlier")
NO_SETTING = {"checkpoints", "stop", "measure_edge_every", "measure_decrease", "probe_replay"}


def labels(study: str, experiment: str) -> list[str]:
    """Return the labels of an experiment, each once, in the order of its runs."""
    known = params.load(Path(f"studies/{study}.yaml"))
    ours = [run for run in experiments.runs(known) if run.experiment == experiment]
    return list(dict.fromkeys(setting_label(known, run) for run in ours))


@pytest.mark.parametrize(
    ("experiment", "expected"),
    [
        ("measured", ["fixed 0.001"]),
        ("replay", ["fixed 0.001", "fixed 0.001, replay 0 to 0.5"]),
        ("middle", ["fixed 0.001, part 33 to 67 %, after fixed 0.001"]),
        (
            "consolidation",
            ["fixed 0.001, after fixed 0.001", "fixed 0.001, moments carried, after fixed 0.001"],
        ),
        ("pruning", ["fixed 0.001, prune_drift 0.5"]),
        ("base-steps", ["fixed 0.001, base step 40", "fixed 0.001"]),
    ],
)
def test_chains_and_parts_are_named_in_words(experiment: str, expected: list[str]) -> None:
    assert labels("modes", experiment) == expected


def test_a_chain_names_what_went_before() -> None:
    names = labels("full", "middle")
    assert names == [
        f"fixed {rate}, part 40 to 60 %, after fixed 0.005 + repeats 4" for rate in (0.0005, 0.005)
    ]
    known = params.load(Path("studies/modes.yaml"))
    run = next(one for one in experiments.runs(known) if one.experiment == "pruning")
    training, pruning = run.phases
    assert isinstance(training, Phase)
    replayed = training.model_copy(update={"replay_fraction": 0.25, "epochs": 2})
    longer = Run("x", run.model, 0, "final", (replayed, pruning, training))
    assert setting_label(known, longer) == (
        "fixed 0.001, after fixed 0.001 + 0.25 replay + 2 epochs then prune_drift 0.5"
    )


@pytest.mark.parametrize("study", STUDIES)
def test_a_label_and_the_columns_beside_it_name_one_setting(study: str) -> None:
    known = params.load(Path(f"studies/{study}.yaml"))
    settings: defaultdict[tuple[Any, ...], set[str]] = defaultdict(set)
    for run in experiments.runs(known):
        label = setting_label(known, run)
        assert "{" not in label and len(label) < 100
        settings[label, *columns(run)].add(str([content(phase) for phase in run.phases]))
    assert all(len(contents) == 1 for contents in settings.values())


def columns(run: Run) -> tuple[Any, ...]:
    """Return what the tables say of a run beside its label."""
    last = run.trainings[-1]
    stream = (last.stream.get(name) for name in ("kind", "order", "repeats", "cycles"))
    return (run.model, str(last.replay_fraction), *stream, last.epochs, len(run.phases))


def content(phase: Any) -> dict[str, Any]:
    return phase.model_dump(mode="json", exclude=NO_SETTING if isinstance(phase, Phase) else None)
