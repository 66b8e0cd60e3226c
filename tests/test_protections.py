"""The table of each method at equal learning, on runs whose gains are worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from planted import protected, protected_apart
from report_frames import frames, run

from palimpsest.core.answers.frames import Frames
from palimpsest.core.answers.protections import APART, compared, protections

NO_SEEDS = "no interval"


def course(name: str, forgetting: dict[float, float]) -> list[tuple[Any, ...]]:
    """Return the held-out losses of a run at (learning, forgetting), from 5 and 4 nats."""
    points = [(0.0, 0.0), *forgetting.items()]
    return [
        (name, step, corpus, "one", loss, 100)
        for step, (learned, forgot) in enumerate(points)
        for corpus, loss in (("new", 5 - learned), ("original", 4 + forgot))
    ]


def study(points: dict[float, float], **ewc: tuple[float, float]) -> Frames:
    """One seed: plain training along `points`, half replay, and EWC at strengths `s1`, `s10`, …"""
    learned, forgot = list(points.items())[-1]
    runs = [
        run(run="plain", learning_nats=learned, forgetting_nats=forgot),
        run(run="half", replay_fraction=0.5, learning_nats=0.8, forgetting_nats=0.1),
    ]
    for name, (learned, forgot) in ewc.items():
        label = f"hold 5 %, ewc {name[1:]}"
        strong = {"method": "ewc", "method_strength": float(name[1:]), "policy_label": label}
        runs.append(run(run=name, learning_nats=learned, forgetting_nats=forgot, **strong))
    columns = frames([]).held_out.columns
    return frames(runs, held_out=pd.DataFrame(course("plain", points), columns=columns))


ALONG = {0.4: 0.1, 0.8: 0.3, 1.0: 0.5}


def gains(planted: Frames) -> dict[str, tuple[float, float]]:
    rows = compared(planted)
    return {
        row.run: (round(row.over_training, 6), round(row.over_replay, 6))
        for row in rows.itertuples()
    }


def test_gains_are_read_off_the_courses_at_equal_learning() -> None:
    """Learning 0.9: plain training forgets 0.4 there, a mixture of half and none 0.3.

    Half replay itself: at 0.8 plain training forgets 0.3. At 0.6 only plain training compares:
    halfway between 0.1 and 0.3. Nothing reaches 1.1.
    """
    found = gains(study(ALONG, s1=(0.9, 0.25), s10=(0.6, 0.02), s100=(1.1, 0.1)))
    assert found["s1"] == (0.15, 0.05)
    assert found["half"][0] == 0.2 and np.isnan(found["half"][1])
    assert found["s10"][0] == 0.18 and np.isnan(found["s10"][1])
    assert np.isnan(found["s100"]).all() and np.isnan(found["plain"]).all()


def test_a_straight_guess_between_two_checkpoints_is_no_course() -> None:
    found = gains(study({0.5: 0.1, 1.0: 0.5}, s1=(0.9, 0.25)))
    assert np.isnan(found["s1"][0]) and found["s1"][1] == 0.05


def test_the_table_keeps_the_best_strength_and_says_what_cannot_be_compared() -> None:
    """Strength 1 gains 0.05 on replay, strength 5 only 0.2 − 0.18 = 0.02, though less forgotten."""
    planted = study(ALONG, s1=(0.9, 0.25), s5=(0.85, 0.18), s10=(0.6, 0.02))
    table = protections(planted).beside[0]
    assert table.rows == (
        ("small", "hold 5 %", "plain training", "1.000", f"+0.500 ({NO_SEEDS})", "–", "–", "1"),
        (
            *("small", "hold 5 %", "plain replay, 50\u202f%", "0.800", f"+0.100 ({NO_SEEDS})"),
            *(f"+0.200 ({NO_SEEDS})", "–", "1"),
        ),
        (
            *("small", "hold 5 %", "EWC 1", "0.900", f"+0.250 ({NO_SEEDS})"),
            *(f"+0.150 ({NO_SEEDS})", f"+0.050 ({NO_SEEDS})", "1"),
        ),
    )
    apart = protections(study(ALONG, s10=(0.6, 0.02), s100=(1.1, 0.0))).beside[0].rows[-1]
    assert apart[2] == "EWC 10" and apart[5:7] == (f"+0.180 ({NO_SEEDS})", APART)


def test_intervals_of_the_table_are_of_seeds() -> None:
    """Consolidation at −0.05, 0.01 and 0.04 about a gain of 0.1, at two sizes alike.

    Squares sum to 2 · 0.0042 with 4 degrees of freedom; Student's quantile is 2.776445:
    the mean of three reaches 2.776445 · sqrt(0.0021 / 3) = 0.073.
    """
    rows = protections(protected(0.1, 0.05)).beside[0].rows
    again = [row for row in rows if row[2].startswith("consolidation")]
    assert [row[0] for row in again] == ["small", "large"]
    assert {row[6:] for row in again} == {("+0.100 (0.027 to 0.173)", "3")}
    assert {row[5] for row in again} == {APART}


def test_a_size_that_cannot_be_compared_is_named() -> None:
    answer = protections(protected_apart(0.1))
    name = "consolidation by replay only"
    assert [row[:3] for row in answer.rows] == [(name, "small", "+0.100"), (name, "large", APART)]
    assert "large" not in answer.value
