"""All questions of the study, answered in their order."""

from __future__ import annotations

from dataclasses import replace

from palimpsest.core.answers import (
    clocks,
    drift,
    memory,
    policies,
    protections,
    rates,
    replay,
    schedule,
)
from palimpsest.core.answers.answer import Answer
from palimpsest.core.answers.beside import beside
from palimpsest.core.answers.frames import Frames


def answers(frames: Frames) -> list[Answer]:
    """Answer the fourteen questions, in their order."""
    return [
        rates.by_size(frames),
        replay.prevents(frames),
        replay.cost(frames),
        policies.same(frames),
        rates.beyond_edge(frames),
        rates.never_learn(frames),
        drift.predicts(frames),
        replace(memory.order(frames), beside=beside(frames)),
        schedule.come_back(frames),
        policies.knee(frames),
        schedule.difficulty(frames),
        protections.protections(frames),
        schedule.longer_base(frames),
        clocks.one_curve(frames),
    ]
