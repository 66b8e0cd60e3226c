"""dvc.yaml against the plan: DVC calls every stage that a changed parameter re-keys."""

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from palimpsest import params as P
from palimpsest.plan import Plan, Stages

ROOT = Path(__file__).resolve().parent.parent
DECLARED = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]

EVERYTHING = {
    "plain": {"model": ["neox-6k", "neox-25k"], "replay_fraction": [0.0, 0.5, 1.0]},
    "asked": {
        "model": "neox-6k",
        "seed": 1,
        "stream": {
            "kind": "questions",
            "sequence_length": 64,
            "n_batches": 5,
        },
        "policy": {"kind": "fixed", "learning_rate": 0.001},
    },
    "chain": {
        "model": "neox-6k",
        "phases": [
            {"epochs": 2, "checkpoints": {"kind": "log", "count": 2}},
            {"replay_fraction": {"start": 0.5, "end": 0.1}, "carry_optimizer": True},
            {"policy": {"kind": "cosine", "learning_rate": 0.001}, "optimizer": {"kind": "sgd"}},
        ],
    },
}


@pytest.fixture(scope="module", autouse=True)
def at_the_root():
    """Plan in the project's own folder: planning writes nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        yield


@pytest.fixture(scope="module")
def everything():
    """Return a study that uses every section, as plain content."""
    study = yaml.safe_load((ROOT / "studies" / "smoke.yaml").read_text("utf-8"))
    study["probe"]["decreases"] = [0.01, 0.05]
    study["phase"]["policy"] = {"kind": "hold", "decrease": 0.05}
    return study | {"experiments": EVERYTHING}


@pytest.fixture(scope="module")
def before(everything):
    return planned(everything)


@pytest.fixture(scope="module")
def changes(everything):
    """Return the plan after a change of each leaf, by the leaf's place."""
    return {place: planned(with_another(everything, place)) for place in leaves(everything)}


def leaves(node: object, place: tuple = ()) -> Iterator[tuple]:
    """Yield the place of each leaf; a list of plain values is one leaf."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, (*place, key))
    elif isinstance(node, list) and any(isinstance(item, dict) for item in node):
        for number, item in enumerate(node):
            yield from leaves(item, (*place, number))
    else:
        yield place


OTHER: dict[str, object] = {  # leaves whose neighbour by rule would be no valid value
    "path": "data/mini_pile_held_out.jsonl.xz",
    "questions": "data/./questions.jsonl",  # the only file of questions, by another spelling
    "train": "data/mini_pile_held_out.jsonl.xz",
    "held_out": "data/mini_pile_train.jsonl.xz",
    "task_dir": "data/./tasks",
    "model": "neox-25k",
    "laws": ["constant"],
    "evaluated": "final",
    "tasks": ["lambada_local"],
    "title": "Other",
    "decrease": 0.01,
    "decreases": [0.01, 0.05, 0.2],
    "beta1": 0.5,
    "beta2": 0.5,
    "heads": 1,
    "landscape_replay": [0.0, 0.5],
    "hidden_size": 64,
}
NAMED = {("questions", "path"): "questions", ("evals", "checkpoints"): "evaluated"}
WITH_KIND = {  # another kind brings other fields
    "adamw": {"kind": "sgd"},
    "sgd": {"kind": "adamw"},
    "hold": {"kind": "fixed", "learning_rate": 0.002},
    "fixed": {"kind": "fixed", "learning_rate": 0.002},
    "cosine": {"kind": "fixed", "learning_rate": 0.002},
    "log": {"kind": "final"},
    "chunks": {"kind": "chunks", "sequence_length": 32, "batch_tokens": 128},
    "questions": {"kind": "questions", "sequence_length": 64, "n_batches": 6},
}


def with_another(study: dict, place: tuple) -> dict:
    """Return a copy of a study with one leaf changed, valid again."""
    changed = copy.deepcopy(study)
    node = changed
    for part in place[:-1]:
        node = node[part]
    value = node[place[-1]]
    if place[-1] == "kind":
        new = WITH_KIND[value]
        node.clear()
        node.update(new)
    else:
        name = NAMED.get(place[-2:], place[-1])
        node[place[-1]] = another(name, value)
    return changed


def another(name: object, value: object) -> object:
    """Return another value of the same type."""
    if OTHER.get(str(name), value) != value:
        return OTHER[str(name)]
    if isinstance(value, list):
        return [another(name, value[0]), *value[1:]]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 0.5 or 0.25
    return "neox-6k"


def published(revision: str) -> dict:
    """Return a study of one published model."""
    study = yaml.safe_load((ROOT / "studies" / "smoke.yaml").read_text("utf-8"))
    study["corpora"]["tokenizer"] = {"model": "other"}
    study["models"] = {"hub": {"other": {"repo": "owner/other", "revision": revision}}}
    return study | {"experiments": {"plain": EVERYTHING["plain"] | {"model": "other"}}}


def planned(study: dict) -> Plan:
    return Plan(P.Params(**study), Stages(ROOT / "dvc.yaml"))


def re_keyed(old: Plan, new: Plan) -> set[str]:
    """Return the stages whose index is another."""
    return {stage for stage in DECLARED if old.index_key(stage) != new.index_key(stage)}


def called(section: str, changed: set[str]) -> set[str]:
    """Return the stages that DVC calls: they declare the section, or an input of theirs changed."""
    found: set[str] = set()
    for name, stage in DECLARED.items():
        inputs = {dep.removeprefix("runs/") for dep in stage["deps"]}
        if section in stage["params"] or inputs & found & changed:
            found.add(name)
    return found


def test_dvc_calls_every_stage_that_a_changed_leaf_re_keys(before, changes):
    forgotten = {}
    for place, after in changes.items():
        changed = re_keyed(before, after)
        if missed := changed - called(str(place[0]), changed):
            forgotten[".".join(map(str, place))] = sorted(missed)
    assert forgotten == {}


def test_every_leaf_re_keys_something(before, changes):
    """A parameter that changes nothing is no parameter."""
    assert [place for place, after in changes.items() if not re_keyed(before, after)] == []


def test_a_section_is_declared_only_where_some_leaf_of_it_re_keys(before, changes, everything):
    needed: dict[str, set[str]] = {stage: set() for stage in DECLARED}
    plain = everything | {"experiments": {"plain": EVERYTHING["plain"]}}
    asking = everything["phase"] | {"stream": WITH_KIND["questions"]}
    pairs = [(place[0], before, after) for place, after in changes.items()]
    pairs += [("phase", planned(plain), planned(plain | {"phase": asking}))]
    pairs += [("experiments", planned(plain), before)]
    stock = everything["evals"] | {
        "tasks": ["lambada_local", "lambada_openai"],
        "revisions": {"lambada_openai": "0123456789abcdef"},
    }
    pairs += [("evals", before, planned(everything | {"evals": stock}))]
    pairs += [("models", planned(published("step1")), planned(published("step2")))]
    for section, old, new in pairs:
        for stage in DECLARED:
            if set(new.by_stage[stage]) != set(old.by_stage[stage]):
                needed[stage].add(str(section))
    for stage, content in DECLARED.items():
        own = {section for section in content.get("params", []) if isinstance(section, str)}
        assert own <= needed[stage], stage


RENAMED = {"simple" if name == "plain" else name: own for name, own in EVERYTHING.items()}
STRUCTURES = {
    "renamed": RENAMED,
    "another order": dict(reversed(EVERYTHING.items())),
    "one less": {name: own for name, own in EVERYTHING.items() if name != "chain"},
    "one twice": EVERYTHING | {"again": EVERYTHING["plain"]},
    "a phase less": EVERYTHING | {"chain": {"model": "neox-6k", "phases": [{"epochs": 2}]}},
}


@pytest.mark.parametrize("experiments", STRUCTURES.values(), ids=STRUCTURES)
def test_dvc_calls_every_stage_that_other_experiments_re_key(everything, before, experiments):
    changed = re_keyed(before, planned(everything | {"experiments": experiments}))
    assert changed - called("experiments", changed) == set()
