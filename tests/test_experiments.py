"""Experiments → runs: axes and their product, chains of phases, defaults."""

import pytest

from palimpsest import params as P
from palimpsest.experiments import runs, unknown
from palimpsest.faults import Fault

STREAM = {"kind": "chunks", "sequence_length": 4, "batch_tokens": 8, "n_new_tokens": 80}
HOLD = {"kind": "hold", "decrease": 0.05}
SIZE = {"hidden_size": 8, "layers": 1, "heads": 2}


def laid_out(phase: dict | None = None, **experiments: dict) -> list:
    return list(runs(study_with(experiments, phase)))


def study_with(experiments: dict, phase: dict | None = None) -> P.Params:
    return P.Params(
        corpora={
            "original": {"train": "a", "held_out": "b"},
            "new": {"path": "c"},
            "questions": {"path": "d"},
            "tokenizer": {},
        },
        models={
            "pretraining": {"n_tokens": 10, "learning_rate": 0.1},
            "sizes": {"small": SIZE, "large": SIZE},
        },
        optimizer={"beta1": 0.8},
        phase=phase if phase is not None else {"stream": STREAM, "policy": HOLD},
        experiments=experiments,
        evals={"tasks": ["t"]},
        fits={"laws": []},
    )


def fault(**experiments: dict) -> str:
    with pytest.raises(Fault) as raised:
        laid_out(**experiments)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_runs_are_the_product_of_the_axes_the_last_one_fastest():
    found = laid_out(x={"model": ["small", "large"], "replay_fraction": [0, 0.5], "seed": [0, 1]})
    assert [(run.model, run.phases[0].replay_fraction, run.seed) for run in found] == [
        ("small", 0, 0),
        ("small", 0, 1),
        ("small", 0.5, 0),
        ("small", 0.5, 1),
        ("large", 0, 0),
        ("large", 0, 1),
        ("large", 0.5, 0),
        ("large", 0.5, 1),
    ]


def test_an_axis_may_lie_inside_a_section():
    found = laid_out(x={"model": "small", "stream": {"order": ["time", "shuffled"]}})
    assert [run.phases[0].stream["order"] for run in found] == ["time", "shuffled"]
    assert {run.phases[0].stream["batch_tokens"] for run in found} == {8}


def test_an_axis_may_be_a_list_of_sections():
    policies = [HOLD, {"kind": "hold", "decrease": [0.01, 0.02]}]
    found = laid_out(x={"model": "small", "policy": policies})
    assert [run.phases[0].policy["decrease"] for run in found] == [0.05, 0.01, 0.02]


def test_steps_of_checkpoints_are_a_list_not_an_axis():
    (run,) = laid_out(x={"model": "small", "checkpoints": {"kind": "steps", "steps": [2, 5]}})
    assert run.phases[0].checkpoints.steps == (2, 5)


def test_an_experiment_overrides_defaults_field_by_field():
    (run,) = laid_out(x={"model": "small", "stream": {"batch_tokens": 16}})
    assert run.phases[0].stream["batch_tokens"] == 16
    assert run.phases[0].stream["n_new_tokens"] == 80
    assert run.phases[0].policy == HOLD
    assert run.phases[0].optimizer.beta1 == 0.8


def test_another_kind_replaces_the_whole_section():
    (run,) = laid_out(x={"model": "small", "optimizer": {"kind": "sgd"}})
    assert run.phases[0].optimizer == P.Optimizer(kind="sgd")


def test_the_same_kind_keeps_the_defaults_beside_it():
    (run,) = laid_out(x={"model": "small", "stream": {"kind": "chunks", "batch_tokens": 16}})
    assert run.phases[0].stream["n_new_tokens"] == 80


def test_phases_are_a_chain_and_axes_inside_them_multiply():
    phases = [{"replay_fraction": [0, 0.5]}, {"replay_fraction": [0.25, 0.75], "epochs": 2}]
    found = laid_out(x={"model": "small", "phases": phases})
    assert [[phase.replay_fraction for phase in run.phases] for run in found] == [
        [0, 0.25],
        [0, 0.75],
        [0.5, 0.25],
        [0.5, 0.75],
    ]
    assert {run.phases[1].epochs for run in found} == {2}


def test_seed_and_base_step_have_defaults():
    (run,) = laid_out(x={"model": "small"})
    assert (run.seed, run.base_step) == (0, "final")


def test_experiments_come_in_the_order_in_which_they_are_written():
    found = laid_out(b={"model": "small"}, a={"model": "large"})
    assert [run.experiment for run in found] == ["b", "a"]


def test_a_model_that_is_no_size():
    line = fault(x={"model": "smal"})
    assert line.startswith("experiments.x.model: no model 'smal'; did you mean small?")


def test_no_model():
    assert fault(x={}).startswith("experiments.x.model: no model None; known: small, large, pyth")


@pytest.mark.parametrize("seed", [-1, 1.5, True, "one"])
def test_a_seed_that_is_none(seed):
    line = fault(x={"model": "small", "seed": seed})
    assert line == f"experiments.x.seed: expected a whole number from 0 to 2^31 - 1, got {seed!r}"


def test_an_unknown_field_names_the_nearest():
    line = fault(x={"model": "small", "replay_fractoin": 0.5})
    assert line == "experiments.x.replay_fractoin: unknown key; did you mean replay_fraction?"


def test_an_unknown_field_of_a_plug_in_names_the_nearest():
    line = fault(x={"model": "small", "policy": {"decrese": 0.1}})
    assert line == "experiments.x.policy.decrese: unknown key; did you mean decrease?"


def test_an_unknown_kind_names_the_nearest():
    line = fault(x={"model": "small", "stream": {"kind": "chunk"}})
    assert line == "experiments.x.stream.kind: 'chunk' is unknown; did you mean chunks?"


@pytest.mark.parametrize("value", [1.5, -0.1, {"start": 0, "end": 1.5}])
def test_a_replay_ratio_out_of_range(value):
    assert fault_lines(x={"model": "small", "replay_fraction": value})[0].startswith(
        "experiments.x.replay_fraction"
    )


def fault_lines(**experiments: dict) -> list[str]:
    with pytest.raises(Fault) as raised:
        laid_out(**experiments)
    return str(raised.value).splitlines()


def test_fields_beside_phases_have_no_place():
    line = fault(x={"model": "small", "phases": [{}], "epochs": 2})
    assert line == "experiments.x.epochs: with phases:, put it into one of them"


@pytest.mark.parametrize("phases", [{"epochs": 2}, "twice", [], [3]])
def test_phases_that_are_no_list_of_sections(phases):
    assert fault(x={"model": "small", "phases": phases}).startswith("experiments.x.phases: ")


@pytest.mark.parametrize("own", [{"replay_fraction": []}, {"stream": {"order": []}}])
def test_an_axis_without_a_value(own):
    line = fault(x={"model": "small"} | own)
    assert line == "experiments.x: one of its lists is empty, so it has no runs"


@pytest.mark.parametrize("base_step", ["last", -1, 0.5])
def test_a_base_step_that_is_none(base_step):
    line = fault(x={"model": "small", "base_step": base_step})
    assert line.startswith("experiments.x.base_step: ")


def test_runs_with_an_unknown_setting_are_named_and_left_out():
    experiments = {
        "x": {
            "model": ["small", "unknown"],
            "policy": {"kind": "unknown", "start": [1, "unknown"]},
        },
        "y": {"model": ["small", "unknown"]},
        "z": {"model": "small"},
    }
    assert [run.experiment for run in laid_out(**experiments)] == ["y", "z"]
    params = study_with(experiments)
    assert unknown(params) == {"x": ["model", "policy.kind", "policy.start"], "y": ["model"]}


def test_an_edit_has_fields_of_its_own_and_axes():
    found = laid_out(
        x={"model": "small", "phases": [{}, {"kind": "interpolate", "alpha": [0, 0.5]}]}
    )
    assert [run.phases[1].alpha for run in found] == [0, 0.5]
    assert all(run.trainings == [run.phases[0]] for run in found)


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        ({"kind": "interpolat"}, ".kind: 'interpolat' is unknown; did you mean interpolate?"),
        ({"kind": "interpolate", "alpha": 2}, ".alpha: expected a number less than or equal to 1"),
        ({"kind": "prune_drift", "alpha": 1}, ".fraction: missing"),
        ({"ewc": {"strenght": 1}}, ".ewc.strength: missing"),
        ({"ewc": {"strength": -1}}, ".ewc.strength: expected a number greater than or equal to 0"),
        ({"stream": {"part": {"start": 0.5, "end": 0.5}}}, "start 0.5 is not below end 0.5"),
    ],
)
def test_faults_of_phases_are_lines(phase, expected):
    line = fault_lines(x={"model": "small", "phases": [{}, phase]})[0]
    assert line.startswith("experiments.x") and expected in line


def test_a_phase_without_stream():
    with pytest.raises(Fault, match=r"experiments\.x\.stream: expected a mapping with kind:"):
        laid_out(phase={"policy": HOLD}, x={"model": "small"})
