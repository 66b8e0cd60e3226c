"""A batch → what its job asks of a cluster: memory, time, partition, GPUs, by its largest model.

The site's nodes stand in the profile (`config: nodes`), smallest models first. Without them, as on
a laptop, only memory and time are told.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from palimpsest.faults import Fault
from palimpsest.plan import Artifact

LIGHT_MB, LIGHT_MINUTES = 1500, 30  # stages that load no model
TORCH_MB, START_MINUTES = 3000, 15
# fp32 weights, gradients, two moments, the base, the update, and copies while a state is saved
BYTES_PER_PARAMETER = 48
TIME_MARGIN = 3.0  # jobs are requeued or lost when their time is over; estimates are rough
GROWS = ("mem_mb", "runtime")  # with each attempt
FIXED = ("slurm_partition", "gpu", "gpu_model", "cpus_per_task", "cpus_per_gpu")
Value = int | str


class Node(BaseModel):
    """One line of the profile's `nodes`: where models of up to so many parameters are served."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    up_to: float = Field(gt=0)
    partition: str
    gpu: int = Field(0, ge=0)
    gpu_model: str = ""
    cpus: int = Field(1, ge=1)
    mem_mb: int = Field(0, ge=0)
    speed: float = Field(1.0, gt=0)

    def resources(self) -> dict[str, Value]:
        """Return what the job's place asks for, in the words of Snakemake's SLURM plugin."""
        cpus = "cpus_per_gpu" if self.gpu else "cpus_per_task"
        return {
            "slurm_partition": self.partition,
            "gpu": self.gpu,
            "gpu_model": self.gpu_model,
            "cpus_per_task": 0,
            "cpus_per_gpu": 0,
            cpus: self.cpus,
        }


def read_nodes(content: Any) -> list[Node]:
    """Read the profile's `nodes`. Raises Fault that names the first wrong entry."""
    if not isinstance(content, list):
        raise Fault("profile: config.nodes must be a list, one line per kind of node")
    try:
        nodes = [Node.model_validate(line) for line in content]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Fault(f"profile: config.nodes: {place}: {first['msg'].lower()}") from None
    return sorted(nodes, key=lambda node: node.up_to)


def needs(members: Iterable[Artifact], nodes: list[Node], *, torch: bool) -> dict[str, Value]:
    """Return what a job that builds these artifacts one after the other asks for at first.

    Raises Fault if no line of the profile takes its model.
    """
    if not torch:
        return {"mem_mb": LIGHT_MB, "runtime": LIGHT_MINUTES}
    members = list(members)
    seconds = sum(artifact.cost.seconds for artifact in members)
    largest = max(members, key=lambda artifact: artifact.cost.n_parameters)
    n_parameters = largest.cost.n_parameters
    mem_mb = TORCH_MB + int(n_parameters * BYTES_PER_PARAMETER / 1e6)
    if not nodes:
        return {"mem_mb": mem_mb, "runtime": _minutes(seconds)}
    node = _node(largest.model, n_parameters, nodes)
    place = {"mem_mb": max(mem_mb, node.mem_mb), "runtime": _minutes(seconds / node.speed)}
    return place | node.resources()


def _node(model: str, n_parameters: int, nodes: list[Node]) -> Node:
    """Return the first line that holds a model; the last for one of unknown size."""
    if n_parameters == 0:
        return nodes[-1]
    for node in nodes:
        if n_parameters <= node.up_to:
            return node
    raise Fault(
        f"profile: config.nodes: no line takes {model} "
        f"({n_parameters:.3g} parameters); add one with up_to: {n_parameters:.3g}"
    )


def at_attempt(asked: dict[str, Value], name: str, attempt: int) -> Value | None:
    """Return one resource of a job at its n-th attempt: memory and time grow with each."""
    value = asked.get(name)
    return value * attempt if name in GROWS and isinstance(value, int) else value


def _minutes(seconds: float) -> int:
    return START_MINUTES + int(TIME_MARGIN * seconds / 60)
