"""The schedule: what is missing, in which batches, waiting for what."""

import random
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from palimpsest import store
from palimpsest.faults import Fault
from palimpsest.plan import Artifact, load
from palimpsest.schedule import TORCH_STAGES, Schedule, Written, own, schedule

STUDY = {
    "chains": {
        "model": ["neox-6k", "neox-25k"],
        "policy": {"kind": "fixed", "learning_rate": [1e-3, 1e-2]},
        "epochs": [1, 3],
    },
    "phases": {
        "model": "neox-6k",
        "phases": [{"replay_fraction": 0.0}, {"replay_fraction": [0.25, 0.5]}],
    },
}


@pytest.fixture(autouse=True)
def params(project):
    """Plan a study with chains of epochs and phases that share beginnings."""
    content = yaml.safe_load(Path("params.yaml").read_text("utf-8"))
    content["experiments"] = STUDY
    content["phase"]["stream"]["n_new_tokens"] = 2_000_000
    Path("params.yaml").write_text(yaml.safe_dump(content), "utf-8")
    return content


@pytest.fixture(scope="module")
def plan():
    """Hold a plan made by the first test; planning is pure, so the others share it."""
    return []


@pytest.fixture
def planned(plan):
    if not plan:
        plan.append(load(Path("params.yaml")))
    return plan[0]


def put(*artifacts: Artifact, attic: bool = False) -> None:
    """Put artifacts there as if they had been built."""
    for artifact in artifacts:
        folder = (store.parked if attic else store.artifact)(artifact.stage, artifact.name)
        folder.mkdir(parents=True)
        store.list_files(folder)


def members(plan, *stages: str) -> list[Artifact]:
    return [a for stage in stages or plan.stages.order for a in plan.by_stage[stage].values()]


def put_stage(plan, *stages: str) -> None:
    """Put whole stages there, with their indexes."""
    put(*members(plan, *stages))
    for stage in stages:
        store.write_json(store.index(stage, plan.index_key(stage)), [])


def put_results(to_do: Schedule) -> None:
    (file,) = to_do.results_target()
    Path(file).parent.mkdir(parents=True)
    Path(file).touch()


def waits(to_do: Schedule) -> dict[str, list[str]]:
    """Return what each batch waits for, by their markers."""
    return {b.marker: to_do.batch_inputs(b.stage, b.name) for b in to_do.batches}


def has_cycle(graph: dict[str, list[str]]) -> bool:
    """Return whether no order satisfies who waits for whom."""
    left = dict(graph)
    while ready := [node for node, before in left.items() if not set(before) & set(left)]:
        for node in ready:
            del left[node]
    return bool(left)


# Batches


@pytest.mark.parametrize("by", ["cores", "model", "run"])
@pytest.mark.parametrize("seed", range(6))
def test_no_batch_waits_for_a_batch_that_waits_for_it(planned, by, seed):
    draw = random.Random(seed)
    put(*[a for a in members(planned) if draw.random() < 0.4])
    to_do = Schedule(planned, by=by, cores=1 + seed % 3)
    assert not has_cycle(waits(to_do))


@pytest.mark.parametrize("by", ["cores", "model", "run"])
@pytest.mark.parametrize("seed", range(3))
def test_each_missing_artifact_is_in_one_batch_after_what_it_needs(planned, by, seed):
    draw = random.Random(seed)
    there = {a for a in members(planned) if draw.random() < 0.3}
    put(*there)
    to_do = Schedule(planned, by=by, cores=2)
    scheduled = [a for batch in to_do.batches for a in batch.members]
    assert len(scheduled) == len(set(scheduled))
    assert set(scheduled) == set(members(planned)) - there
    for batch in to_do.batches:
        for number, artifact in enumerate(batch.members):
            assert not set(artifact.upstream()) & set(batch.members[number:])


def test_a_batch_waits_for_exactly_the_batches_of_its_missing_inputs(planned):
    put(*members(planned, "corpora", "tokens", "probes"))
    to_do = Schedule(planned, by="model", cores=2)
    of = {a: batch.marker for batch in to_do.batches for a in batch.members}
    for batch in to_do.batches:
        needed = {of[a] for member in batch.members for a in member.upstream() if a in of}
        assert set(to_do.batch_inputs(batch.stage, batch.name)) == needed - {batch.marker}


def test_cores_share_the_cost_about_equally(planned):
    to_do = Schedule(planned, by="cores", cores=2)
    costs = [sum(a.cost.seconds for a in b.members) for b in to_do.batches if b.stage == "train"]
    chains = [
        sum(a.cost.seconds for a in b.members)
        for b in Schedule(planned, by="run", cores=2).batches
        if b.stage == "train"
    ]
    assert len(costs) == 2
    assert max(costs) - min(costs) <= max(chains)


def test_little_work_is_one_process(params):
    params["phase"]["stream"]["n_new_tokens"] = 2560
    params["evals"]["checkpoints"] = "final"
    Path("params.yaml").write_text(yaml.safe_dump(params), "utf-8")
    to_do = schedule("params.yaml", by="cores", cores=8)
    assert [b.stage for b in to_do.batches] == list(to_do.order)


def test_by_a_number_a_batch_holds_so_many_runs_of_one_model(planned):
    runs = [b.members for b in Schedule(planned, by="run").batches if b.stage == "recall"]
    threes = [b.members for b in Schedule(planned, by=3).batches if b.stage == "recall"]
    per_model = Counter(members[0].model for members in runs)
    assert len(threes) == sum(-(-n // 3) for n in per_model.values()) < len(runs)
    assert all(len({a.model for a in members}) == 1 for members in threes)
    assert sum(map(len, threes)) == sum(map(len, runs))


@pytest.mark.parametrize("by", ["runs", 0, "3"])
def test_an_unknown_size_of_batches_is_named(planned, by):
    with pytest.raises(Fault, match="is unknown; known: cores, model, run, or a number"):
        Schedule(planned, by=by)


def test_a_job_asks_for_the_place_of_its_model(planned):
    nodes = [
        {"up_to": 5e4, "partition": "cpu"},
        {"up_to": 1e6, "partition": "gpu", "gpu": 1, "cpus": 4},
    ]
    to_do = Schedule(planned, by="model", nodes=nodes)
    for batch in to_do.batches:
        asked = to_do.resources(batch.stage)
        wildcards = SimpleNamespace(batch=batch.name)
        place = {name: ask(wildcards, attempt=1) for name, ask in asked.items()}
        if batch.stage in TORCH_STAGES:
            larger = batch.members[0].model == "neox-25k"  # 91 k parameters; the other has 39 k
            assert place["slurm_partition"] == ("gpu" if larger else "cpu")
            assert place["gpu"] == larger
        else:
            assert set(place) == {"mem_mb", "runtime"}
        assert asked["mem_mb"](wildcards, attempt=2) == 2 * place["mem_mb"]


def test_a_job_is_given_what_was_planned_for_it(planned):
    to_do = Schedule(planned, by="model", nodes=[{"up_to": 1e6, "partition": "cpu"}])
    batch = next(b for b in to_do.batches if b.stage == "train")
    wildcards = SimpleNamespace(batch=batch.name)
    order = {"resources": {n: a(wildcards, 1) for n, a in to_do.resources("train").items()}}
    store.write_json(store.batch("train", batch.name), order)
    given = Written().resources("train")
    assert given["mem_mb"](wildcards, 2) == 2 * order["resources"]["mem_mb"]
    assert given["slurm_partition"](wildcards, 1) == "cpu"


def test_by_model_one_batch_holds_one_model(planned):
    to_do = Schedule(planned, by="model", cores=2)
    for stage in ("bases", "train", "recall"):
        models = [{a.model for a in b.members} for b in to_do.batches if b.stage == stage]
        assert sorted(map(sorted, models)) == [["neox-25k"], ["neox-6k"]]


def test_an_unknown_way_to_cut_batches(planned):
    with pytest.raises(Fault, match="batches='cluster' is unknown; known: cores, model, run"):
        Schedule(planned, by="cluster")


def test_the_same_gap_is_the_same_batch_until_it_was_built(planned):
    names = [b.name for b in Schedule(planned).batches]
    assert [b.name for b in Schedule(planned).batches] == names


def test_a_marker_of_an_earlier_time_hides_no_missing_artifact(planned):
    before = Schedule(planned).batches
    for batch in before:
        Path(batch.marker).parent.mkdir(parents=True, exist_ok=True)
        Path(batch.marker).touch()
    after = Schedule(planned).batches
    assert [b.members for b in after] == [b.members for b in before]
    assert not any(Path(b.marker).exists() for b in after)


# What is missing


def test_what_waits_in_the_attic_is_not_missing(planned):
    put(*members(planned, "bases"), attic=True)
    to_do = Schedule(planned)
    assert to_do.missing("bases") == []
    assert "bases" not in {batch.stage for batch in to_do.batches}


def test_half_an_artifact_is_missing(planned):
    put_stage(planned, *planned.stages.order)
    (base, *_) = members(planned, "bases")
    (store.artifact("bases", base.name) / store.FILES).write_text("10 model.safetensors\n")
    assert Schedule(planned).missing("bases") == [base]


def test_nothing_is_asked_twice_when_all_is_there(planned):
    put_stage(planned, *planned.stages.order)
    to_do = Schedule(planned)
    put_results(to_do)
    assert to_do.batches == []
    assert all(Path(file).exists() for file in to_do.everything())
    assert all(to_do.complete(stage) for stage in to_do.order)
    assert all(to_do.index_inputs(stage) == [] for stage in to_do.order)


# What the rules ask


def stages_of(files: list[str]) -> set[str]:
    return {Path(file).parts[1] for file in files if file.startswith("runs/")}


def test_without_anything_all_asks_for_every_index_and_the_results(planned):
    to_do = Schedule(planned)
    files = to_do.everything()
    assert stages_of(files) == set(to_do.order)
    assert files[-1] == to_do.results_target()[0]


def test_a_pull_of_fits_and_report_is_complete(planned):
    put_stage(planned, "fits", "report")
    to_do = Schedule(planned)
    put_results(to_do)
    assert stages_of(to_do.everything()) == {"fits", "report"}
    assert all(Path(file).exists() for file in to_do.everything())


def test_a_stage_that_is_asked_for_by_name_is_completed_with_what_it_needs(planned):
    put_stage(planned, "fits", "report")
    to_do = Schedule(planned)
    markers = {b.marker for b in to_do.batches if b.stage == "train"}
    assert markers < set(to_do.target("train"))
    assert any("/probes/" in marker for m in markers for marker in waits(to_do)[m])


def test_a_partial_pull_computes_no_more_than_a_change_needs(planned, params):
    """After a pull of tables, fits and report, another law needs no checkpoint."""
    put_stage(planned, "tables", "fits", "report")
    params["fits"]["bootstrap"] = 7
    Path("params.yaml").write_text(yaml.safe_dump(params), "utf-8")
    to_do = schedule("params.yaml", by="cores", cores=2)
    assert stages_of(to_do.everything()) == {"tables", "fits", "report"}
    needed = {b.stage for b in to_do.batches if b.marker in reached(to_do)}
    assert needed == {"fits", "report"}


def reached(to_do: Schedule) -> set[str]:
    """Return the markers of the batches that `rule all` leads to."""
    graph = waits(to_do)
    graph |= {
        str(store.index(stage, to_do.plan.index_key(stage))): to_do.index_inputs(stage)
        for stage in to_do.order
    }
    found, ends = set(), to_do.everything()
    while ends:
        file = ends.pop()
        if file not in found:
            found.add(file)
            ends += graph.get(file, [])
    return found


def test_what_an_orphan_left_behind_is_tidied(planned):
    put_stage(planned, *planned.stages.order)
    (store.RUNS / "train" / "orphan-0").mkdir()
    (index, tidy) = Schedule(planned).index_target("train")
    assert Path(index).exists()
    assert tidy.startswith(".work/done/tidy/train-")
    assert Schedule(planned).index_target("bases") == [
        str(store.index("bases", planned.index_key("bases")))
    ]


# What is written down


def test_a_spawned_process_reads_what_was_written_not_the_params(planned):
    to_do = Schedule(planned, by="model", cores=2)
    to_do.begin()
    Path("params.yaml").write_text("broken: [", "utf-8")
    written = Written()
    for batch in to_do.batches:
        waits_for = to_do.batch_inputs(batch.stage, batch.name)
        assert written.batch_inputs(batch.stage, batch.name) == waits_for
        order = store.read_json(store.batch(batch.stage, batch.name))
        assert [m["name"] for m in order["members"]] == [a.name for a in batch.members]
    assert written.order == ()
    assert written.everything() == []


def test_planning_writes_nothing(planned):
    before = sorted(Path().iterdir())
    to_do = Schedule(planned)
    to_do.everything()
    [to_do.target(stage) for stage in to_do.order]
    assert sorted(Path().iterdir()) == before


# One planner at a time


def test_a_second_planner_is_refused_until_the_first_ends(planned):
    with own(wait=False), pytest.raises(Fault, match=r"^process \d+ works in this folder; wait"):
        own(wait=False)
    own(wait=False).close()


def test_the_work_folder_may_be_gone(planned):
    own(wait=False).close()
    shutil.rmtree(store.WORK)
    own(wait=False).close()
