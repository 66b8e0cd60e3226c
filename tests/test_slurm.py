"""SLURM's queue as a study sees it; the queue is a script that prints what squeue would."""

import os
from pathlib import Path

import pytest

from palimpsest import slurm
from palimpsest.faults import Fault
from palimpsest.slurm import Job


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """Return a function that makes squeue print lines, in a folder that has jobs in it."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "study").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path / "study")

    def prints(*lines: str, code: int = 0) -> None:
        program = tmp_path / "bin" / "squeue"
        said = "".join(f"{line}\n" for line in lines)
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{said}END\necho down >&2\nexit {code}\n")
        program.chmod(0o755)

    return prints


def test_jobs_of_this_folder_are_told_by_their_name(queue):
    here = Path.cwd()
    queue(
        f"7|RUNNING|palimpsest_1f-2e|{here}",
        f"8|PENDING|palimpsest_1f-2e|{here}",
        f"9|RUNNING|palimpsest_1f-2e|{here}-other",
        f"10|RUNNING|another|{here}",
    )
    assert slurm.jobs_here() == [Job("7", "RUNNING"), Job("8", "PENDING")]


def test_orphans_are_refused_in_one_line(queue):
    queue(f"7|RUNNING|palimpsest_x|{Path.cwd()}")
    with pytest.raises(Fault) as told:
        slurm.refuse_orphans()
    assert str(told.value) == (
        "SLURM: 1 job of an earlier controller would be submitted a second time (7 running); "
        "run `palimpsest recover`"
    )


def test_an_empty_queue_is_not_refused(queue):
    queue()
    slurm.refuse_orphans()


def test_a_queue_that_does_not_answer_is_a_fault_and_not_an_empty_queue(queue):
    queue(code=1)
    with pytest.raises(Fault, match="squeue: down"):
        slurm.jobs_here()


def test_a_missing_program_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Fault, match="squeue: not found; run this where"):
        slurm.jobs_here()
