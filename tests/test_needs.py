"""What a batch asks of a cluster, worked out by hand."""

import pytest

from palimpsest.costs import Cost
from palimpsest.faults import Fault
from palimpsest.needs import at_attempt, needs, read_nodes
from palimpsest.plan import Artifact

NODES = [  # as Snakemake hands them over: numbers of a profile arrive as text
    {"up_to": "2e9", "partition": "gpu", "gpu": "1", "gpu_model": "h100", "cpus": "8"}
    | {"mem_mb": "64000", "speed": "1000"},
    {"up_to": "2e7", "partition": "cpu"},
]


def artifact(model: str, n_parameters: int, hours: float) -> Artifact:
    cost = Cost(n_parameters=n_parameters, seconds=hours * 3600)
    return Artifact("train", model, "0123", {}, {}, "c0de", {}, model=model, cost=cost)


def test_without_nodes_only_memory_and_time_are_told():
    assert needs([artifact("small", 10_000_000, 2.0)], [], torch=True) == {
        "mem_mb": 3000 + 480,  # 48 bytes for each of 10⁷ parameters
        "runtime": 15 + 3 * 120,
    }


def test_a_model_goes_to_the_first_line_that_holds_it():
    small, large = artifact("small", 20_000_000, 1.0), artifact("large", 20_000_001, 1.0)
    nodes = read_nodes(NODES)
    assert needs([small], nodes, torch=True)["slurm_partition"] == "cpu"
    assert needs([large], nodes, torch=True) == {
        "mem_mb": 64000,
        "runtime": 15,  # 3.6 s on a node a thousand times as fast
        "slurm_partition": "gpu",
        "gpu": 1,
        "gpu_model": "h100",
        "cpus_per_task": 0,
        "cpus_per_gpu": 8,
    }


def test_the_largest_model_of_a_batch_decides_and_times_add_up():
    mixed = [artifact("small", 1_000, 1.0), artifact("large", 1_000_000_000, 999.0)]
    asked = needs(mixed, read_nodes(NODES), torch=True)
    assert asked["slurm_partition"] == "gpu"
    assert asked["runtime"] == 15 + 180  # 1,000 h at a thousandth of the time, three times over


def test_a_model_of_unknown_size_goes_where_the_largest_go():
    asked = needs([artifact("hub", 0, 0.0)], read_nodes(NODES), torch=True)
    assert asked["slurm_partition"] == "gpu"


def test_what_loads_no_model_is_light():
    assert needs([artifact("", 0, 0.0)], read_nodes(NODES), torch=False) == {
        "mem_mb": 1500,
        "runtime": 30,
    }


def test_memory_and_time_grow_with_each_attempt_and_places_do_not():
    asked = {"mem_mb": 1000, "runtime": 20, "gpu": 1, "slurm_partition": "gpu"}
    assert {name: at_attempt(asked, name, 3) for name in [*asked, "gpu_model"]} == {
        "mem_mb": 3000,
        "runtime": 60,
        "gpu": 1,
        "slurm_partition": "gpu",
        "gpu_model": None,
    }


def test_a_model_that_no_line_takes_is_named():
    with pytest.raises(Fault, match=r"no line takes huge \(3e\+09 parameters\); add one with"):
        needs([artifact("huge", 3_000_000_000, 1.0)], read_nodes(NODES), torch=True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("cpu", "must be a list"),
        ([{"up_to": 1e9, "partition": "gpu", "gpus": 1}], "gpus: extra inputs are not permitted"),
        ([{"up_to": 1e9}], "partition: field required"),
        ([{"up_to": "many", "partition": "gpu"}], "up_to: input should be a valid number"),
    ],
)
def test_a_wrong_line_is_named(content, said):
    with pytest.raises(Fault, match=said):
        read_nodes(content)
