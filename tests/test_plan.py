"""The plan: what gets which key, and what a change re-keys."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from palimpsest import layout, sources
from palimpsest.core.policies import fixed
from palimpsest.faults import Fault
from palimpsest.plan import Plan, Stages, load

STUDIES = sorted((Path(__file__).parent.parent / "studies").glob("*.yaml"))
AFTER = {
    "corpora": "tokens",
    "tokens": "bases",
    "bases": "probes",
    "probes": "train",
    "train": "recall",
    "recall": "evals",
    "evals": "tables",
    "tables": "fits",
    "fits": "report",
}


def study() -> dict:
    return yaml.safe_load(Path("params.yaml").read_text("utf-8"))


def planned(content: dict | None = None) -> Plan:
    """Return the plan for some parameters, or for params.yaml."""
    sources.content_hash.cache_clear()
    if content is None:
        return load(Path("params.yaml"))
    Path("changed.yaml").write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    return load(Path("changed.yaml"))


def with_leaf(place: str, value: object) -> dict:
    content = study()
    *parents, last = place.split("/")
    node = content
    for name in parents:
        node = node.setdefault(name, {})
    node[last] = value
    return content


def names(plan: Plan) -> dict[str, set[str]]:
    return {stage: set(members) for stage, members in plan.by_stage.items()}


def new_in(plan: Plan, old: Plan) -> dict[str, set[str]]:
    """Return the artifacts that only the first plan has, by stage; stages without any left out."""
    before = names(old)
    new = {stage: members - before[stage] for stage, members in names(plan).items()}
    return {stage: members for stage, members in new.items() if members}


def only(**experiments: dict) -> dict:
    """Return the smoke study with other experiments."""
    return study() | {"experiments": experiments}


# Keys


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_every_study_that_ships_can_be_planned(project, study):
    assert len(load(study).by_stage["report"]) == 1


def test_two_plans_of_one_file_are_equal(project):
    assert names(planned()) == names(planned())


def test_every_process_finds_the_same_keys(project):
    code = (
        "import json, pathlib, palimpsest.plan as p\n"
        "plan = p.load(pathlib.Path('params.yaml'))\n"
        "print(json.dumps({stage: sorted(members) for stage, members in plan.by_stage.items()}))"
    )
    environment = os.environ | {"PYTHONPATH": "src"}
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=environment | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert found[0] == found[1]
    assert json.loads(found[0]) == {s: sorted(members) for s, members in names(planned()).items()}


@pytest.mark.parametrize(
    ("place", "value", "stages"),
    [
        ("report/title", "Other", ["report"]),
        ("fits/bootstrap", 201, ["fits", "report"]),
        ("evals/limit", 25, ["evals", "tables", "fits", "report"]),
        ("recall/held_out_tokens", 999, ["recall", "tables", "fits", "report"]),
    ],
)
def test_a_changed_leaf_re_keys_its_stage_and_all_that_follows(project, place, value, stages):
    old, new = planned(), planned(with_leaf(place, value))
    assert new_in(new, old) == {stage: names(new)[stage] for stage in stages}


def test_the_tokenizer_spares_the_text_and_re_keys_the_rest(project):
    old, new = planned(), planned(with_leaf("corpora/tokenizer/vocab_size", 600))
    changed = new_in(new, old)
    assert changed.pop("corpora") == {n for n in names(new)["corpora"] if n.startswith("tokenizer")}
    assert changed == {stage: names(new)[stage] for stage in AFTER.values()}


def test_one_size_re_keys_only_its_own(project):
    old, new = planned(), planned(with_leaf("models/sizes/neox-6k/layers", 3))
    changed = new_in(new, old)
    assert set(changed) == {
        "bases",
        "probes",
        "train",
        "recall",
        "evals",
        "tables",
        "fits",
        "report",
    }
    for stage in ("bases", "probes", "train", "recall", "evals"):
        assert changed[stage] == {n for n in names(new)[stage] if n.startswith("neox-6k")}


def test_the_probe_re_keys_only_the_policies_that_read_it(project):
    old, new = planned(), planned(with_leaf("probe/batches", 7))
    changed = new_in(new, old)
    assert changed["train"] == {n for n in names(new)["train"] if "_hold" in n}
    assert {n for n in names(new)["train"] if "_fixed" in n}.isdisjoint(changed["train"])
    assert set(changed) == {"probes", "train", "recall", "evals", "tables", "fits", "report"}
    assert not any("base" in name for name in changed["evals"])


def test_one_more_ratio_adds_its_own_and_nothing_else(project):
    ratios = [0.0, 0.25, 0.5, 1.0]
    old, new = planned(), planned(with_leaf("experiments/replay/replay_fraction", ratios))
    changed = {stage: len(added) for stage, added in new_in(new, old).items()}
    ends = {"tables": 1, "fits": 1, "report": 1}
    assert changed == {"probes": 2, "train": 2, "recall": 2, "evals": 2} | ends
    assert not {s for s in ("probes", "train", "recall", "evals") if names(old)[s] - names(new)[s]}


def test_a_run_of_two_experiments_is_built_once(project):
    run = {"model": "neox-6k", "replay_fraction": 0.5}
    plan = planned(only(one=run, two=run))
    assert len(plan.by_stage["train"]) == 1
    (table,) = plan.by_stage["tables"].values()
    assert [entry["experiments"] for entry in table.spec["runs"]] == [["one", "two"]]


# Epochs and phases


def test_epochs_share_their_beginning(project):
    plan = planned(only(x={"model": "neox-6k", "epochs": [1, 3]}))
    assert len(plan.by_stage["train"]) == 3
    assert len(plan.by_stage["recall"]) == 2


def test_ten_epochs_after_two_train_eight_more(project):
    two = planned(only(x={"model": "neox-6k", "epochs": 2}))
    ten = planned(only(x={"model": "neox-6k", "epochs": 10}))
    assert len(new_in(ten, two)["train"]) == 8 and len(ten.by_stage["train"]) == 10


def test_epochs_of_a_policy_that_needs_the_length_share_nothing(project):
    cosine = {"kind": "cosine", "learning_rate": 0.001}
    plan = planned(only(x={"model": "neox-6k", "epochs": [1, 3], "policy": cosine}))
    assert len(plan.by_stage["train"]) == 1 + 3


def test_epochs_of_a_changing_ratio_share_nothing(project):
    ratio = {"start": 0.5, "end": 0.0}
    plan = planned(only(x={"model": "neox-6k", "epochs": [1, 3], "replay_fraction": ratio}))
    assert len(plan.by_stage["train"]) == 1 + 3


def test_chains_share_their_beginning(project):
    phases = [{"replay_fraction": 0.0}, {"replay_fraction": [0.25, 0.5]}]
    plan = planned(only(x={"model": "neox-6k", "phases": phases}))
    assert len(plan.by_stage["train"]) == 1 + 2
    first = {next(iter(t.upstream())).name for t in plan.by_stage["train"].values()}
    (base,) = plan.by_stage["bases"].values()
    assert base.name in first


# Evaluated checkpoints


def evaluated(checkpoints: str, **experiments: dict) -> Plan:
    content = only(**experiments)
    content["evals"]["checkpoints"] = checkpoints
    return planned(content)


LOG = {"model": "neox-6k", "seed": [0, 1], "checkpoints": {"kind": "log", "count": 4}}


def test_all_checkpoints_of_the_evaluated_seeds_are_added_to_the_last(project):
    last, every = evaluated("final", x=LOG), evaluated("all", x=LOG)
    assert len(last.by_stage["evals"]) == 2  # seed 0 and its base; seed 1 is not evaluated
    assert not names(last)["evals"] - names(every)["evals"]
    new = [a for name, a in every.by_stage["evals"].items() if name not in names(last)["evals"]]
    assert [a.spec["kept"] for a in new] == [1, 2, 3]
    assert {a.inputs["weights"].label for a in new} == {"neox-6k_hold0.01_r0_s0_e1"}
    assert set(new_in(every, last)) == {"evals", "tables", "fits", "report"}
    (one,) = [a for a in last.by_stage["evals"].values() if a.inputs["weights"].stage == "train"]
    assert all((a.cost, a.model) == (one.cost, one.model) for a in new)
    assert one.cost.seconds > 0 and one.cost.n_bytes > 0


def test_left_out_the_last_checkpoint_alone_is_evaluated(project):
    content = only(x=LOG)
    del content["evals"]["checkpoints"]
    assert names(planned(content)) == names(evaluated("final", x=LOG))


def test_epochs_share_the_evaluations_of_their_beginning(project):
    epochs = {"model": "neox-6k", "checkpoints": {"kind": "log", "count": 2}}
    one, both = (evaluated("all", x=epochs | {"epochs": n}) for n in (1, [1, 3]))
    assert len(one.by_stage["evals"]) == 1 + 1 + 1  # base, end, and one before it
    assert len(both.by_stage["evals"]) == 1 + 3 + 3
    assert names(one)["evals"] < names(both)["evals"]
    entries = next(iter(both.by_stage["tables"].values())).spec["runs"]
    found = {e["epochs"]: (len(e["epoch_evals"]), len(e["kept_evals"])) for e in entries}
    assert found == {1: (0, 1), 3: (2, 3)}


def test_an_edit_and_the_training_before_it_are_both_evaluated(project):
    chain = [FIXED | {"checkpoints": {"kind": "steps", "steps": [1, 3]}}]
    chain += [{"kind": "interpolate", "alpha": 0.5}]
    plan = evaluated("all", x={"model": "neox-6k", "phases": chain})
    assert len(plan.by_stage["evals"]) == 1 + 2 + 1 + 1  # base, steps, end of training, edit


def test_each_artifact_waits_only_for_what_lies_before_it(project):
    plan = planned()
    place = {stage: number for number, stage in enumerate(plan.stages.order)}
    for members in plan.by_stage.values():
        for artifact in members.values():
            assert all(place[a.stage] <= place[artifact.stage] for a in artifact.upstream())
            assert all(plan.by_stage[a.stage][a.name] is a for a in artifact.upstream())


# Edges


def test_an_edge_that_dvc_does_not_know_is_refused(project):
    text = Path("dvc.yaml").read_text("utf-8")
    declared = yaml.safe_load(text)
    declared["stages"]["train"]["deps"].remove("runs/probes")
    Path("dvc.yaml").write_text(yaml.safe_dump(declared, sort_keys=False), "utf-8")
    with pytest.raises(Fault, match=r"^dvc\.yaml: train needs runs/probes \(neox-6k_hold"):
        planned()


def test_an_edge_may_lead_through_another_stage(project):
    stages = Stages()
    assert stages.reaches("report", "corpora")
    assert not stages.reaches("corpora", "report")


# Code


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), "utf-8")


def test_a_comment_re_keys_nothing(source):
    old = planned()
    for file in ("stages/train.py", "core/loop.py", "core/policies/hold.py"):
        edit(source / file, '"""\n', '"""\n# a remark\n')
    assert new_in(planned(), old) == {}


def test_a_policy_re_keys_only_the_runs_that_name_it(source):
    old = planned()
    edit(source / "core/policies/fixed.py", "NEEDS_LENGTH = False", "NEEDS_LENGTH = not True")
    changed = new_in(planned(), old)
    assert changed["train"] == {n for n in names(planned())["train"] if "_fixed" in n}
    assert "probes" not in changed


def test_a_new_policy_re_keys_nothing(source):
    old = planned()
    text = (source / "core/policies/fixed.py").read_text("utf-8")
    (source / "core/policies/steady.py").write_text(text.replace('"fixed"', '"steady"'))
    assert new_in(planned(), old) == {}


def test_what_only_training_runs_re_keys_every_phase_and_no_base(source):
    old = planned()
    with (source / "core/live.py").open("a") as file:
        file.write("\nA_NEW_NAME = 1\n")
    changed = new_in(planned(), old)
    assert changed["train"] == names(planned())["train"]
    assert not {"bases", "probes"} & set(changed)


@pytest.mark.parametrize(("law", "re_keyed"), [("log_linear", True), ("d_cpt", False)])
def test_a_law_re_keys_the_fits_only_where_it_is_named(source, law, re_keyed):
    old = planned()
    with (source / f"core/laws/{law}.py").open("a") as file:
        file.write("\nA_NEW_NAME = 1\n")
    assert set(new_in(planned(), old)) == ({"fits", "report"} if re_keyed else set())


@pytest.mark.parametrize("file", ["plan.py", "params.py", "store.py", "worker.py", "schedule.py"])
def test_what_all_stages_share_re_keys_nothing(source, file):
    old = planned()
    with (source / file).open("a") as text:
        text.write("\nA_NEW_NAME = 1\n")
    assert new_in(planned(), old) == {}


# Data

QUESTION = '{"question": "Who?", "answer": "Nobody"}\n'


@pytest.fixture
def data(project):
    """Give the folder data files of its own; planning reads the content of the questions alone."""
    listing = [p.relative_to("data") for p in Path("data").rglob("*") if p.is_file()]
    Path("data").unlink()
    for name in listing:
        (project / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (project / "data" / name).write_text(f"content of {name}")
    (project / "data" / "questions.jsonl").write_text(QUESTION)
    return project / "data"


def test_a_corpus_re_keys_its_text_and_all_that_follows(data):
    old = planned()
    (data / "dnd_sessions.jsonl.xz").write_text("more")
    changed = new_in(planned(), old)
    assert {name.split("-")[0] for name in changed["corpora"]} == {"new"}
    assert {name.split("-")[0] for name in changed["tokens"]} == {"new"}
    assert "bases" not in changed
    assert changed["train"] == names(planned())["train"]


def test_a_task_re_keys_the_evals(data):
    old = planned()
    next((data / "tasks").iterdir()).write_text("other items")
    assert set(new_in(planned(), old)) == {"evals", "tables", "fits", "report"}


def test_data_that_the_study_does_not_read_re_key_nothing(data):
    old = planned()
    (data / "questions.jsonl").write_text(2 * QUESTION)
    assert new_in(planned(), old) == {}


@pytest.mark.parametrize("name", ["corpora/new/path", "evals/task_dir"])
def test_data_that_are_not_there_are_a_fault(project, name):
    with pytest.raises(Fault, match=r"^data/none: named in .*, but there is no such"):
        planned(with_leaf(name, "data/none"))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "data/mine.jsonl: no such file"),
        ("", "data/mine.jsonl: holds no questions"),
        ('{"question": "Who?"}', "data/mine.jsonl:1: the record has no 'answer'"),
        ('{"question": "Who?", "answer": " "}', "data/mine.jsonl:1: wrong record: expected text"),
        ("Who? Me.", "data/mine.jsonl:1: not JSON"),
    ],
)
def test_questions_are_read_when_planning_whether_or_not_a_phase_asks_them(data, content, fault):
    if content is not None:
        (data / "mine.jsonl").write_text(content, "utf-8")
    with pytest.raises(Fault, match=fault) as caught:
        planned(with_leaf("corpora/questions/path", "data/mine.jsonl"))
    assert "\n" not in str(caught.value)


def test_sizes_are_compared_by_the_probes_of_each_models_first_run(project):
    content = study()
    content["experiments"] = {
        "first": {"model": "neox-6k", "replay_fraction": [0.0, 0.5]},
        "asked": {
            "model": ["neox-6k", "neox-25k"],
            "stream": {"kind": "questions", "sequence_length": 64, "n_batches": 10},
        },
        "sgd": {"model": "neox-6k", "optimizer": {"kind": "sgd"}},
    }
    (tables,) = planned(content).by_stage["tables"].values()
    seen = [
        (p["model"], p["stream"], p["optimizer"], p["replay_fraction"], p["usual"])
        for p in tables.spec["probes"]
    ]
    assert seen == [
        ("neox-6k", "chunks", "adamw", 0.0, True),
        ("neox-6k", "chunks", "adamw", 0.5, True),
        ("neox-6k", "questions", "adamw", 0.0, False),
        ("neox-25k", "questions", "adamw", 0.0, True),
        ("neox-6k", "chunks", "sgd", 0.0, False),
    ]


# Size


def many(n_seeds: int) -> dict:
    """Return the smoke study with 6 ratios and 5 rates at each of many seeds."""
    runs = {
        "model": "neox-6k",
        "seed": list(range(n_seeds)),
        "replay_fraction": [0.0, 0.1, 0.25, 0.5, 0.75, 0.9],
        "policy": {"kind": "fixed", "learning_rate": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]},
    }
    return only(many=runs)


def test_three_thousand_runs_are_planned_without_what_planning_does_not_need(project):
    Path("many.yaml").write_text(yaml.safe_dump(many(100)), "utf-8")
    code = (
        "import json, sys, palimpsest.schedule as s\n"
        "plan = s.schedule('many.yaml', by='cores', cores=2).plan\n"
        "counts = {stage: len(members) for stage, members in plan.by_stage.items()}\n"
        "print(json.dumps([counts, sorted(sys.modules)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=True,
    )
    counts, imported = json.loads(done.stdout)
    heavy = {"torch", "transformers", "pandas", "scipy", "datasets", "lm_eval", "matplotlib"}
    assert not heavy & set(imported)
    assert (counts["bases"], counts["probes"]) == (100, 600)
    assert (counts["train"], counts["recall"]) == (3000, 3000)


# Phases that keep old text


def with_phases(*phases: dict, **axes: object) -> dict:
    return only(x={"model": "neox-6k", "phases": list(phases), **axes})


FIXED = {"policy": {"kind": "fixed", "learning_rate": 0.01}}


def test_a_sweep_of_ewc_shares_one_fisher_and_strength_0_needs_none(project):
    plan = planned(with_phases(FIXED | {"ewc": {"strength": [0, 1, 100]}}))
    trains = list(plan.by_stage["train"].values())
    fishers = [train.inputs.get("fisher") for train in trains]
    assert fishers[0] is None and fishers[1] is fishers[2]
    assert fishers[1].spec["kind"] == "fisher" and fishers[1].stage == "probes"


def test_a_probe_of_chunks_does_not_depend_on_questions_that_end_its_phase(project):
    stops = {"stop": [{"accuracy": None}, {"accuracy": 0.8}]}
    plan = planned(only(x={"model": "neox-6k", "policy": {"kind": "best"}, **stops}))
    (probe,) = plan.by_stage["probes"].values()
    assert "questions" not in probe.inputs
    asking = [train for train in plan.by_stage["train"].values() if "questions" in train.inputs]
    assert (len(asking), len(plan.by_stage["train"])) == (1, 2)


def test_a_probe_of_questions_reads_them(project):
    stream = {"kind": "questions", "sequence_length": 64, "n_batches": 4}
    plan = planned(only(x={"model": "neox-6k", "stream": stream, **FIXED}))
    (probe,) = plan.by_stage["probes"].values()
    assert "questions" in probe.inputs


def test_settings_of_another_stream_are_told_apart_by_their_labels(project):
    """Both take 16 windows' worth of text from a study whose runs cut chunks."""
    stream = {"kind": "rolling", "window": 64, "stride": [32, 64], "n_new_tokens": 1024}
    stream["sequence_length"] = 64
    plan = planned(only(x={"model": "neox-6k", "stream": stream, **FIXED}))
    (tables,) = plan.by_stage["tables"].values()
    assert sorted(entry["label"] for entry in tables.spec["runs"]) == [
        "fixed 0.01, n_new_tokens 1024, stride 32, window 64",
        "fixed 0.01, n_new_tokens 1024, stride 64, window 64",
    ]


def test_a_comma_in_a_policy_s_name_is_not_another_setting(project, monkeypatch):
    """Behind a comma stands what keeps a run out of the laws."""
    monkeypatch.setattr(fixed, "label", lambda params: "fixed, slowly")
    plan = planned(only(x={"model": "neox-6k", **FIXED}))
    (tables,) = plan.by_stage["tables"].values()
    assert [entry["label"] for entry in tables.spec["runs"]] == ["fixed; slowly"]


@pytest.mark.parametrize(
    ("tasks", "revisions", "line"),
    [
        (
            ["hellaswag"],
            {},
            "the data of hellaswag come from the hub; pin them: `revisions: {hellaswag: COMMIT}`",
        ),
        (
            ["lambada_local"],
            {"hellaswag": "c0ffee1"},
            "hellaswag is not fetched from the hub; those are: none of evals.tasks",
        ),
    ],
)
def test_data_of_stock_benchmarks_are_pinned(project, tasks, revisions, line):
    content = study()
    content["evals"] |= {"tasks": tasks, "revisions": revisions}
    with pytest.raises(Fault) as told:
        planned(content)
    assert str(told.value) == f"evals.revisions: {line}"


def test_another_lm_eval_re_keys_what_it_evaluates(project, monkeypatch):
    """The first one's keys do not name it."""
    before = planned()
    monkeypatch.setattr(layout, "version", lambda _: "0.4.99")
    layout._harness.cache_clear()
    try:
        after = planned()
    finally:
        layout._harness.cache_clear()
    assert before.by_stage["evals"].keys().isdisjoint(after.by_stage["evals"])
    for stage in ("bases", "train", "recall"):
        assert before.by_stage[stage].keys() == after.by_stage[stage].keys()


def test_another_pin_re_keys_the_benchmark_and_what_follows(project):
    content = study()
    content["evals"] |= {"tasks": ["hellaswag"], "revisions": {"hellaswag": "a" * 40}}
    before = planned(content)
    content["evals"]["revisions"] = {"hellaswag": "b" * 40}
    new = new_in(planned(content), before)
    assert set(new) == {"corpora", "evals", "tables", "fits", "report"}
    assert len(new["corpora"]) == 1


def test_orders_by_difficulty_share_the_base_s_losses(project):
    orders = ["easy-first", "hard-first"]
    plan = planned(
        only(
            x={
                "model": "neox-6k",
                "stream": {"order": orders, "repeats": [1, 2]},
                "replay_fraction": [0.25, 0.5],
                **FIXED,
            },
            y={
                "model": "neox-6k",
                "stream": {"replay_order": orders},
                "replay_fraction": 1.0,
                **FIXED,
            },
        )
    )
    new, original = (
        {
            train.inputs[role].name
            for train in plan.by_stage["train"].values()
            if role in train.inputs
        }
        for role in ("difficulty", "replay_difficulty")
    )
    assert len(plan.by_stage["train"]) == 10
    assert len(new) == len(original) == 1 and not new & original


def test_an_edit_follows_its_training_and_is_measured(project):
    plan = planned(with_phases(FIXED, {"kind": "interpolate", "alpha": [0.5, 0.9]}))
    assert len(plan.by_stage["train"]) == 3 and len(plan.by_stage["recall"]) == 2
    entries = next(iter(plan.by_stage["tables"].values())).spec["runs"]
    assert [(e["method"], e["method_strength"]) for e in entries] == [
        ("interpolate", 0.5),
        ("interpolate", 0.9),
    ]
    assert [len(entry["trains"]) for entry in entries] == [2, 2]


def test_replay_after_training_is_called_consolidation(project):
    plan = planned(with_phases(FIXED, FIXED | {"replay_fraction": 1.0}))
    entry = next(iter(plan.by_stage["tables"].values())).spec["runs"][0]
    assert entry["method"] == "consolidation"


@pytest.mark.parametrize(
    ("phase", "base_step", "line"),
    [
        ({"kind": "interpolate", "alpha": 0.5}, "final", "the first phase must train"),
        (FIXED | {"carry_optimizer": True}, "final", "the first phase has no moments"),
        (FIXED, 7, "base_step: 7 is not kept; take one of 40, 80 or final"),
    ],
)
def test_what_no_stage_could_do_is_refused_in_one_line(project, phase, base_step, line):
    with pytest.raises(Fault) as raised:
        planned(with_phases(phase, base_step=base_step))
    assert line in str(raised.value) and "\n" not in str(raised.value)
