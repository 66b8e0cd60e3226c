"""Why something would run: what changed, and where it stands in params.yaml."""

from pathlib import Path

import pytest
import yaml
from standing import stand, stand_all

from palimpsest import sources, store
from palimpsest.plan import Plan, load
from palimpsest.reasons import Reasons
from palimpsest.schedule import Schedule


def changed(place: str, value: object) -> Schedule:
    """Let all artifacts of the smoke study stand, change one leaf, and plan again."""
    stand_all(load(Path("params.yaml")))
    content = yaml.safe_load(Path("params.yaml").read_text("utf-8"))
    *parents, last = place.split("/")
    node = content
    for name in parents:
        node = node[name]
    node[last] = value
    Path("params.yaml").write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    return planned()


def planned() -> Schedule:
    sources.content_hash.cache_clear()
    return Schedule(load(Path("params.yaml")))


def park(plan: Plan) -> None:
    """Put every artifact of a plan into the attic."""
    for members in plan.by_stage.values():
        stand(*members.values(), place=store.parked)


def reasons(to_do: Schedule, stage: str) -> set[str]:
    found = Reasons(to_do, stage)
    return {"; ".join(found.of(artifact)) for artifact in to_do.missing(stage)}


@pytest.mark.parametrize(
    ("place", "value", "stage", "reason"),
    [
        ("fits/bootstrap", 150, "fits", "parameter fits.bootstrap: 200 → 150"),
        ("evals/limit", 25, "evals", "parameter evals.limit: 24 → 25"),
        ("report/title", "T", "report", "parameter report.title: Palimpsest → T"),
        ("recall/every", 2, "recall", "parameter recall.every: 1 → 2"),
        (
            "models/pretraining/checkpoints",
            3,
            "bases",
            "parameter models.pretraining.checkpoints: 2 → 3",
        ),
        (
            "models/sizes/neox-6k/layers",
            3,
            "bases",
            "parameter models.sizes.neox-6k.layers: 1 → 3",
        ),
        (
            "corpora/tokenizer/vocab_size",
            600,
            "corpora",
            "parameter corpora.tokenizer.vocab_size: 512 → 600",
        ),
    ],
)
def test_a_changed_parameter_is_named_as_params_yaml_names_it(project, place, value, stage, reason):
    before = yaml.safe_load(Path("params.yaml").read_text("utf-8"))
    for name in place.split("/"):
        before = before.get(name) if isinstance(before, dict) else before
    to_do = changed(place, value)
    old = reason.split(": ")[1].split(" → ")[0]
    expected = reason.replace(f": {old} ", f": {before} ") if before is not None else reason
    assert reasons(to_do, stage) == {expected}


@pytest.mark.parametrize(
    ("place", "value", "stage", "reasons_given"),
    [
        (
            "optimizer/beta1",
            0.8,
            "train",
            {"parameter optimizer.beta1: 0.9 → 0.8"},
        ),
        (
            "optimizer/beta1",
            0.8,
            "probes",
            {"parameter optimizer.beta1: 0.9 → 0.8"},
        ),
        (
            "probe/landscape_replay",
            [],
            "probes",
            {"parameter probe.landscape_replay: true → false"},
        ),
    ],
)
def test_what_a_spec_calls_otherwise_is_named_as_in_params_yaml(
    project, place, value, stage, reasons_given
):
    assert reasons(changed(place, value), stage) == reasons_given


def test_another_folder_of_a_published_model_and_its_pin_are_named(project):
    """The plan of hub models needs no hub."""
    content = yaml.safe_load(Path("params.yaml").read_text("utf-8"))
    content["models"] = {"hub": {"small": {"repo": "owner/small", "revision": "a1"}}}
    content["corpora"]["tokenizer"] = {"model": "small"}
    content["evals"] |= {"tasks": ["hellaswag"], "revisions": {"hellaswag": "b1b1b1b"}}
    content["experiments"] = {
        "x": {"model": "small", "policy": {"kind": "fixed", "learning_rate": 1.0e-3}}
    }
    Path("params.yaml").write_text(yaml.safe_dump(content), "utf-8")
    assert reasons(changed("evals/revisions/hellaswag", "b2b2b2b"), "corpora") == {
        "parameter evals.revisions.hellaswag: b1b1b1b → b2b2b2b"
    }


def test_other_laws_are_a_parameter_and_no_code(project):
    to_do = changed("fits/laws", ["constant", "power", "replay-line"])
    (reason,) = reasons(to_do, "fits")
    assert reason == (
        "parameter fits.laws: added replay-line, removed log-linear replay-share "
        "replay-exponential and 2 more"
    )


def with_experiments(**experiments: dict) -> None:
    """Let the study have these experiments and no others."""
    content = yaml.safe_load(Path("params.yaml").read_text("utf-8"))
    content["experiments"] = {name: {"model": "neox-6k"} | e for name, e in experiments.items()}
    Path("params.yaml").write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")


SHARES = {"replay_fraction": [0.0, 0.5]}
LOGGED = SHARES | {"checkpoints": {"kind": "even", "count": 5}}


def test_a_value_more_is_new_although_another_study_parked_something_alike(project):
    """What is parked differs in two leaves, what stands in one: nothing is replaced."""
    with_experiments(
        parked=SHARES | {"replay_fraction": 0.25} | {"checkpoints": LOGGED["checkpoints"]}
    )
    park(load(Path("params.yaml")))
    with_experiments(mine=SHARES)
    stand_all(load(Path("params.yaml")))
    with_experiments(mine={"replay_fraction": [0.0, 0.25, 0.5]})
    assert reasons(planned(), "train") == {"new"}
    assert reasons(planned(), "tables") == {
        "parameter experiments: added neox-6k_hold0.01_r0.25_s0_e1"
    }


def test_the_same_made_by_older_code_is_nearer_than_a_neighbour(source):
    with_experiments(mine=SHARES | {"replay_fraction": 0.25})
    park(load(Path("params.yaml")))
    with (source / "stages" / "train.py").open("a") as file:
        file.write("\nNEW_NAME = 1\n")
    with_experiments(mine=SHARES)
    stand_all(load(Path("params.yaml")))
    with_experiments(mine={"replay_fraction": [0.0, 0.25, 0.5]})
    assert reasons(planned(), "train") == {"code of stage train"}


def test_what_is_replaced_comes_before_what_is_parked(project):
    """Both differ in one leaf; that in runs/ was asked for until now."""
    with_experiments(parked=SHARES | {"stream": {"n_new_tokens": 1280}})
    park(load(Path("params.yaml")))
    with_experiments(mine=SHARES)
    stand_all(load(Path("params.yaml")))
    with_experiments(mine=SHARES | {"measure_decrease": True})
    to_do = planned()
    assert reasons(to_do, "train") == {"parameter phase.measure_decrease: false → true"}
    assert reasons(to_do, "recall") == {"follows from train"}
    assert reasons(to_do, "tables") == {"follows from train, recall, evals"}


def test_runs_under_another_experiment_s_name_are_told_as_that(project):
    with_experiments(mine=SHARES)
    stand_all(load(Path("params.yaml")))
    with_experiments(yours=SHARES)
    assert reasons(planned(), "tables") == {
        "parameter experiments: the same runs under other names"
    }


def test_what_follows_names_the_stage_that_it_follows_from(project):
    assert reasons(changed("fits/bootstrap", 150), "report") == {"follows from fits"}


def test_code_names_the_stage(source):
    stand_all(load(Path("params.yaml")))
    with (source / "stages" / "fits.py").open("a") as file:
        file.write("\nNEW_NAME = 1\n")
    assert reasons(planned(), "fits") == {"code of stage fits"}


def test_data_name_the_file(project):
    stand_all(load(Path("params.yaml")))
    text = Path("params.yaml").read_text("utf-8")
    other = "data/mini_pile_held_out.jsonl.xz"
    Path("params.yaml").write_text(text.replace("data/mini_pile_train.jsonl.xz", other))
    assert reasons(planned(), "corpora") == {
        "parameter corpora.original.train: data/mini_pile_train.jsonl.xz → "
        "data/mini_pile_held_out.jsonl.xz; data data/mini_pile_train.jsonl.xz",
        "follows from corpora",
    }


def test_another_seed_is_new_and_not_a_changed_one(project):
    text = yaml.safe_load(Path("params.yaml").read_text("utf-8"))
    for experiment in text["experiments"].values():
        experiment["seed"] = 7
    stand_all(load(Path("params.yaml")))
    Path("params.yaml").write_text(yaml.safe_dump(text), "utf-8")
    assert reasons(planned(), "bases") == {"new"}


def test_without_anything_all_is_new(project):
    to_do = planned()
    assert all(reasons(to_do, stage) == {"new"} for stage in to_do.order)
