"""Ledger, attempts and the queue's record → when who worked on what."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime
from itertools import pairwise

from cluster import Cluster
from project import Project

Interval = tuple[float, float]


def attempts(study: Project) -> list[dict]:
    """Return one entry per attempt that ever began here."""
    path = study.folder / ".work" / "attempts.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def overlaps(study: Project, cluster: Cluster) -> list[tuple[str, Interval, Interval]]:
    """Return the pairs of attempts at the same artifact that were at work at the same time."""
    worked = defaultdict(list)
    for attempt in attempts(study):
        worked[attempt["name"]].append((attempt["started"], _end(attempt, study, cluster)))
    return [
        (name, before, after)
        for name, spans in worked.items()
        for before, after in pairwise(sorted(spans))
        if before[1] > after[0]
    ]


def _end(attempt: dict, study: Project, cluster: Cluster) -> float:
    """Return when an attempt ended: by the ledger if it won, else when its job did."""
    for entry in study.ledger():
        if entry.get("attempt") == attempt["attempt"]:
            return entry["started"] + entry["wall_seconds"]
    ends = [
        datetime.fromisoformat(job["EndTime"]).timestamp()
        for job in cluster.record()
        if job["JobId"] == attempt["slurm_job"]
    ]
    return min((end for end in ends if end >= int(attempt["started"])), default=float("inf"))
