"""What is said of work that goes on: an estimate of the rest, once there is something to go by."""

import logging

import pytest
from snakemake.common import NOTHING_TO_BE_DONE_MSG

from palimpsest import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets, and no pause between lines."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setenv(progress.SECONDS, "0")
    return now


def test_steps_tell_the_rest_after_ten_seconds_of_them(clock, capsys):
    """Start-up of 30 s, then a step in 4 s: 3 of 12 done means 9 · 4 s, but not yet."""
    progress.begin("train")
    for done, now in ((1, 30.0), (2, 34.0), (3, 38.0), (4, 42.0)):
        clock[0] = now
        progress.step_done(done, 12)
    assert capsys.readouterr().err.splitlines() == [
        "train: step 2/12",
        "train: step 3/12",
        "train: step 4/12, about 32 s left",
    ]


def test_the_first_artifact_s_start_up_is_no_pace():
    """Works of 1, 1 and 2 took 20 s (with imports), 1 s and 2 s: a second for each unit."""
    pace = progress.Pace()
    pace.add(20.0, 1.0)
    assert pace.left(7.0) == ""
    pace.add(1.0, 1.0)
    assert pace.left(7.0) == ""
    pace.add(2.0, 2.0)
    assert pace.left(7.0, of=" for this batch") == ", about 7 s left for this batch"


def test_ten_seconds_of_one_artifact_are_enough():
    pace = progress.Pace()
    pace.add(20.0, 1.0)
    pace.add(12.0, 2.0)
    assert pace.left(50.0) == ", about 5 min left"


def test_nothing_left_is_no_estimate():
    pace = progress.Pace()
    for _ in range(4):
        pace.add(1.0, 1.0)
    assert pace.left(0.0) == ""


@pytest.mark.parametrize(("caller", "n_lines"), [("corpora", 1), (None, 3)])
def test_dvc_is_not_told_that_a_stage_stands(monkeypatch, caller, n_lines):
    logger = logging.getLogger("snakemake.logging")
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    monkeypatch.setattr(logger, "filters", [])
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.delenv("DVC_STAGE", raising=False)
    if caller:
        monkeypatch.setenv("DVC_STAGE", caller)
    progress.hush_snakemake()
    for line in ("Building DAG of jobs...", NOTHING_TO_BE_DONE_MSG, "1 of 3 steps"):
        logger.warning(line)
    assert len(said) == n_lines and said[-1] == "1 of 3 steps"
