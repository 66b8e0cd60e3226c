"""A plan and what is on disk → what `palimpsest plan` and `palimpsest status` show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from palimpsest import published, store
from palimpsest.costs import (
    GPU_BF16_OPERATIONS_PER_SECOND,
    GPU_FP32_OPERATIONS_PER_SECOND,
    GPU_START_UP_SECONDS,
    Cost,
    gpu_seconds,
    parameters,
    plus,
)
from palimpsest.experiments import unknown
from palimpsest.reasons import Reasons
from palimpsest.schedule import START_UP_SECONDS, TORCH_STAGES, Schedule, schedule
from palimpsest.shapes import Shape

MOST_REASONS = 5  # of a stage that are shown
GPU_PARAMETERS = 10**7  # of the largest model, embeddings included: below it a GPU gains little
SECONDS_PER_STAGE = 1.5  # in which Snakemake starts jobs and writes the index


def estimate(params_file: Path, cores: int = 2) -> dict[str, Any]:
    """Return per stage how much there is and how much of it is missing.

    Hours come from this folder's records: what was measured over what was estimated; without
    records, from the reference machine of costs.py.
    """
    to_do = schedule(str(params_file), by="cores", cores=cores)
    stages = {stage: _stage_estimate(to_do, stage, cores) for stage in to_do.order}
    jobs = {by: len(Schedule(to_do.plan, by=by).batches) for by in ("model", "run")}
    flops, fp32_flops = (
        sum(stage[name] for stage in stages.values()) for name in ("flops", "fp32_flops")
    )
    seconds = gpu_seconds(flops, fp32_flops=fp32_flops) + jobs["run"] * GPU_START_UP_SECONDS
    measured = any(store.RECORDS.glob("*/*.json"))
    total = plus(Cost(), *(a.cost for stage in to_do.order for a in to_do.wanted(stage).values()))
    return {
        "stages": stages,
        "unknown": unknown(to_do.plan.params),
        "models": _models(to_do),
        "guessed": [name for name, shape in _shapes(to_do).items() if shape and shape.guessed],
        "jobs": jobs,
        "flops": flops,
        "fp32_flops": fp32_flops,
        "gpu_hours": seconds / 3600 if total.n_parameters >= GPU_PARAMETERS else None,
        "cores": cores,
        "hours": sum(stage["hours"] for stage in stages.values()),
        "wall_hours": sum(stage["wall_hours"] for stage in stages.values()),
        "rates": "this folder's records" if measured else "the reference machine",
        "workspace_bytes": total.n_bytes,
        "cache_bytes": total.n_bytes,
        "missing_bytes": sum(stage["n_bytes"] for stage in stages.values()),
    }


def _models(to_do: Schedule) -> dict[str, dict[str, Any]]:
    """Return parameters and bytes of each base model; nulls where its config is not here yet."""
    return {
        name: dict(zip(("n_params", "n_params_total"), parameters(shape), strict=True))
        if shape
        else {"n_params": None, "n_params_total": None}
        for name, shape in _shapes(to_do).items()
    }


def _shapes(to_do: Schedule) -> dict[str, Shape | None]:
    """Return the shape of each base model; None where its config is not here yet."""
    names = dict.fromkeys(base.model for base in to_do.plan.by_stage["bases"].values())
    return {name: published.shape(to_do.plan.params, name) for name in names}


def _stage_estimate(to_do: Schedule, stage: str, cores: int) -> dict[str, Any]:
    missing, slowness = to_do.missing(stage), _slowness(stage)
    cost = plus(Cost(), *(artifact.cost for artifact in missing))
    batches = [batch for batch in to_do.batches if batch.stage == stage]
    start_up = START_UP_SECONDS if stage in TORCH_STAGES else 0.0
    seconds = [
        start_up + slowness * sum(member.cost.seconds for member in batch.members)
        for batch in batches
    ]
    wall = max(*seconds, sum(seconds) / cores, 0.0) + SECONDS_PER_STAGE if seconds else 0.0
    return {
        "artifacts": len(to_do.wanted(stage)),
        "missing": len(missing),
        "batches": len(batches),
        "n_tokens": cost.n_tokens,
        "flops": cost.flops,
        "fp32_flops": cost.fp32_flops,
        "n_bytes": cost.n_bytes,
        "hours": sum(seconds) / 3600,
        "wall_hours": wall / 3600,
    }


def _slowness(stage: str) -> float:
    """Return measured over estimated seconds of a stage's records; 1 without any."""
    records = [store.read_json(path) for path in (store.RECORDS / stage).glob("*.json")]
    estimated = sum(record["estimated_seconds"] for record in records)
    return sum(record["wall_seconds"] for record in records) / estimated if estimated else 1.0


def stand(params_file: Path) -> dict[str, Any]:
    """Return per stage what is present, missing and parked, and why the missing would run."""
    to_do = schedule(str(params_file), by="cores", cores=1)
    return {stage: _stage_stand(to_do, stage) for stage in to_do.order}


def _stage_stand(to_do: Schedule, stage: str) -> dict[str, Any]:
    wanted = to_do.wanted(stage)
    here, attic = (
        {path.name for path in (place / stage).glob("*") if store.whole(path)}
        for place in (store.RUNS, store.ATTIC)
    )
    missing = to_do.missing(stage)
    reasons = Reasons(to_do, stage) if missing else None
    return {
        "wanted": len(wanted),
        "present": len(here & set(wanted)),
        "parked": len(attic),
        "returns": len(attic & set(wanted) - here),
        "missing": {a.name: reasons.of(a) for a in missing} if reasons else {},
    }


def costs_table(totals: dict[str, Any]) -> Group:
    """Draw what `estimate` returns."""
    columns = ("stage", "artifacts", "missing", "batches", "tokens", "FLOPs", "bytes", "hours")
    table = _table(*columns)
    for name, stage in totals["stages"].items():
        table.add_row(
            name,
            *(str(stage[column]) for column in ("artifacts", "missing", "batches")),
            *(f"{stage[column]:.2g}" for column in ("n_tokens", "flops", "n_bytes")),
            f"{stage['hours']:.3f}",
        )
    return Group(table, Text("\n".join(_notes(totals))))


def _notes(totals: dict[str, Any]) -> Iterator[str]:
    """Yield the lines below the table: models, hours, jobs, storage."""
    sizes = {name: counts["n_params"] for name, counts in totals["models"].items()}
    known = [f"{name} {n:,}" for name, n in sizes.items() if n]
    yield "Non-embedding parameters: " + (", ".join(known) or "none known") + "."
    for name in (name for name, n in sizes.items() if not n):
        yield (
            f"{name}: its config.json is not on this machine, so that its cost is not counted; "
            "fetch it first, with network: palimpsest run corpora"
        )
    for name in totals["guessed"]:
        yield (
            f"{name}: transformers makes no model of its config.json here; counted as if it were a "
            "GPT-NeoX with an untied head, so that parameters, operations and bytes may be wrong"
        )
    yield (
        f"{totals['hours']:.2f} core hours, {_duration(totals['wall_hours'])} on "
        f"{totals['cores']} cores, by the rates of {totals['rates']}."
    )
    jobs = totals["jobs"]
    if totals["gpu_hours"] is not None:
        share = totals["fp32_flops"] / max(totals["flops"], 1.0)
        yield (
            f"On GPUs: {totals['gpu_hours']:.1f} GPU hours, if training makes "
            f"{GPU_BF16_OPERATIONS_PER_SECOND:.0e} operations a second in bfloat16, and measuring "
            f"{GPU_FP32_OPERATIONS_PER_SECOND:.0e} in fp32 (assumed, not measured; "
            f"{share:.0%} of the operations are fp32); {jobs['run']} jobs with one run "
            f"each (batches=run), {jobs['model']} with one model each (batches=model)."
        )
    yield (
        f"{totals['missing_bytes'] / 1e9:.2f} GB to write, "
        f"{totals['workspace_bytes'] / 1e9:.2f} GB in all under runs/, and as much again in DVC's "
        "cache where the file system cannot share blocks."
    )
    for name, places in totals["unknown"].items():
        yield f"experiments.{name}: not planned, unknown: {', '.join(places)}"


def _duration(hours: float) -> str:
    minutes = round(hours * 60)
    if minutes < 2:
        return "about a minute" if minutes else "less than a minute"
    return f"about {hours:.1f} hours" if hours >= 2 else f"about {minutes} minutes"


def stand_table(stages: dict[str, Any]) -> Group:
    """Draw what `stand` returns."""
    table = _table("stage", "wanted", "present", "returns", "missing", "parked")
    reasons: list[Text] = []
    for name, stage in stages.items():
        counts = [str(stage[c]) for c in ("wanted", "present", "returns")]
        table.add_row(name, *counts, str(len(stage["missing"])), str(stage["parked"]))
        count = Counter("; ".join(reason) for reason in stage["missing"].values())
        most = count.most_common(MOST_REASONS)
        reasons += [Text(f"{name}: {n} because: {why}") for why, n in most]
        if others := count.total() - sum(n for _, n in most):
            reasons.append(Text(f"{name}: {others} for other reasons, which --json names"))
    return Group(table, *(reasons or [Text("Nothing to do.")]))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column == "stage" else "right")
    return table
