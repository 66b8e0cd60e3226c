"""SIGKILL at random moments: whatever was saved, the end is the same in every byte."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_inputs import (
    build_base,
    build_train,
    files,
    train_spec,
    write_held_out,
    write_inputs,
)

from palimpsest.stages import recall

# Children are forked from a server that has imported all but computed nothing.
os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["training_inputs"])
SPEC = train_spec(
    replay_fraction=0.25,
    stream={
        "kind": "chunks",
        "sequence_length": 16,
        "batch_tokens": 16,
        "n_new_tokens": 640,
        "repeats": 2,
    },
    policy={"kind": "follow", "decrease": 0.05},
    checkpoints={"kind": "even", "count": 5},
    stop={"diverged_factor": 3.0, "accuracy": 0.99, "accuracy_every": 7},
)


MEASURED = SPEC | {"phase": SPEC["phase"] | {"checkpoints": {"kind": "even", "count": 40}}}


def train_once(out: Path, inputs: dict[str, Path], base: Path, seconds: str) -> None:
    os.environ["PALIMPSEST_SAVE_SECONDS"] = seconds
    (out / "began").touch()
    build_train(SPEC, inputs, out, before=base, base=base)
    (out / "done").touch()


def pretrain_once(out: Path, inputs: dict[str, Path], seconds: str) -> None:
    os.environ["PALIMPSEST_SAVE_SECONDS"] = seconds
    (out / "began").touch()
    build_base(inputs, out, n_tokens=4000)
    (out / "done").touch()


def measure_once(out: Path, inputs: dict[str, Path], base: Path, run: Path, seconds: str) -> None:
    os.environ["PALIMPSEST_SAVE_SECONDS"] = seconds
    (out / "began").touch()
    asked = {"every": 1, "held_out_tokens": 64, "drift_tokens": 32, "per_token": True}
    roles = {"base": base, "trains": [run], **inputs}
    recall.build(asked | {"checkpoints": "all", "phases": [MEASURED]}, roles, out)
    (out / "done").touch()


class Attempts:
    """Starts one attempt after the other, each with the newest state of those before it."""

    def __init__(self, folder: Path, target: Callable[..., None], *args: Any) -> None:
        self.folder, self.target, self.args = folder, target, args
        self.newest: Path | None = None
        self.n_attempts = 0
        self.n_resumed = 0

    def run(self, *, wait_after_save: float | None, save_seconds: str) -> Path:
        """Run one attempt in a folder that holds nothing but resume.pt.

        It is killed so many seconds after it has saved a state of its own; None: never.
        """
        out = self.folder / f"attempt-{self.n_attempts}"
        out.mkdir()
        self.n_attempts += 1
        if self.newest is not None:
            shutil.copyfile(self.newest, out / "resume.pt")
            self.n_resumed += 1
        given = state_of(out)
        process = PROCESSES.Process(target=self.target, args=(out, *self.args, save_seconds))
        process.start()
        if wait_after_save is not None:
            while process.is_alive() and state_of(out) in (None, given):
                time.sleep(0.002)
            time.sleep(wait_after_save)
            process.kill()
        process.join()
        if state_of(out) is not None:
            self.newest = out / "resume.pt"
        return out


def state_of(out: Path) -> int | None:
    """Return which file the saved state is: each save replaces it by another one."""
    try:
        return (out / "resume.pt").stat().st_ino
    except FileNotFoundError:
        return None


def finished(out: Path) -> dict[str, bytes]:
    found = files(out)
    assert (found.pop("began"), found.pop("done")) == (b"", b"")
    return found


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def base(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_base(inputs, tmp_path_factory.mktemp("base"))


def kill_and_compare(attempts: Attempts, *, n_kills: int) -> None:
    """Kill at moments spread over the whole work, then let it end and compare every file."""
    whole = finished(attempts.run(wait_after_save=None, save_seconds="1000"))
    random = np.random.default_rng(0)
    while attempts.n_resumed < n_kills:
        assert attempts.n_attempts < 10 * n_kills, "it ends before it can be killed"
        wait = random.uniform(0.0, 0.1)
        out = attempts.run(wait_after_save=wait, save_seconds="0")
        if (out / "done").exists():
            assert finished(out) == whole
            attempts.newest = None
    assert finished(attempts.run(wait_after_save=None, save_seconds="0")) == whole


@pytest.mark.slow
def test_a_training_killed_a_few_times_ends_the_same(
    inputs: dict[str, Path], base: Path, tmp_path: Path
) -> None:
    kill_and_compare(Attempts(tmp_path, train_once, inputs, base), n_kills=2)


@pytest.mark.slow
def test_a_pretraining_killed_a_few_times_ends_the_same(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    kill_and_compare(Attempts(tmp_path, pretrain_once, inputs), n_kills=2)


@pytest.mark.slow
def test_a_recall_killed_ten_times_ends_the_same(
    inputs: dict[str, Path], base: Path, tmp_path: Path
) -> None:
    for seed, role in enumerate(("new", "original"), start=5):
        write_held_out(inputs[role], seed)
    run = build_train(MEASURED, inputs, tmp_path / "run", before=base, base=base)
    kill_and_compare(Attempts(tmp_path, measure_once, inputs, base, run), n_kills=10)


@pytest.mark.slow
def test_a_training_killed_thirty_times_ends_the_same(
    inputs: dict[str, Path], base: Path, tmp_path: Path
) -> None:
    kill_and_compare(Attempts(tmp_path, train_once, inputs, base), n_kills=30)
