"""A clone, a pull, arbitrary time stamps: nothing to do; then a change builds its own (C)."""

import os
import random
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from project import Project, copied, kill, wait_until

pytestmark = pytest.mark.smoke


@pytest.fixture(scope="module")
def remote(smoke, tmp_path_factory) -> Project:
    """Return a copy of the smoke study that has pushed everything to a local remote."""
    folder = tmp_path_factory.mktemp("remote")
    pushed = copied(smoke, folder / "origin")
    pushed.run("dvc", "remote", "add", "--default", "local", str(folder / "storage"))
    pushed.run("dvc", "push", "--quiet")
    pushed.commit("With a remote")
    return pushed


@pytest.fixture
def clone(remote, tmp_path) -> Project:
    remote.run("git", "clone", "--quiet", str(remote.folder), str(tmp_path / "clone"))
    return Project(tmp_path / "clone")


def shake(folder: Path) -> None:
    """Give every file an arbitrary time stamp of the last ten years."""
    draw = random.Random(0)
    for path in folder.rglob("*"):
        if path.is_file() and ".git" not in path.parts:
            seconds = 1_700_000_000 - draw.randrange(300_000_000)
            os.utime(path, (seconds, seconds))


def said_by(done: subprocess.CompletedProcess, words: str) -> bool:
    return words in done.stdout + done.stderr


def test_after_a_pull_both_say_there_is_nothing_to_do(clone):
    clone.run("dvc", "pull", "--quiet")
    shake(clone.folder)
    lock = clone.lock()
    assert said_by(clone.run("snakemake"), "Nothing to be done")
    assert said_by(clone.run("dvc", "repro"), "up to date")
    assert clone.lock() == lock
    clone.set("fits.bootstrap", 150)
    clone.run("dvc", "repro", "fits")
    assert clone.built_since(0) == Counter(fits=1)
    assert clone.missing() == Counter(report=1)


def test_a_pull_of_the_last_stages_is_complete_and_can_be_changed(clone):
    clone.run("dvc", "pull", "--quiet", "tables", "fits", "report")
    shake(clone.folder)
    assert said_by(clone.run("snakemake"), "Nothing to be done")
    clone.set("fits.bootstrap", 150)
    clone.run("palimpsest", "run", "--", "stage_fits")
    assert clone.built_since(0) == Counter(fits=1)
    assert set(clone.missing()) == set(clone.status()) - {"tables", "fits"}


def test_a_pull_that_was_cut_short_is_completed_not_believed(clone):
    clone.run("dvc", "pull", "--quiet")
    (fits,) = [p for p in (clone.folder / "runs" / "fits").iterdir() if p.is_dir()]
    before = clone.contents("runs/fits")
    (fits / "fits.csv").unlink()
    clone.run("snakemake", "stage_fits")
    assert clone.built_since(0) == Counter(fits=1)
    assert clone.contents("runs/fits") == before


@pytest.mark.slow
def test_a_killed_pull_is_completed_by_a_pull(clone, remote):
    (clone.folder / ".work").mkdir()
    process = clone.start("dvc", "pull")
    wait_until(lambda: any((clone.folder / "runs" / "train").glob("*/meta.json")))
    kill(process, group=True)
    clone.run("dvc", "pull", "--quiet", "--force")
    assert said_by(clone.run("snakemake"), "Nothing to be done")
    assert clone.contents("runs") == remote.contents("runs")


def test_without_any_pull_everything_is_asked_for(clone):
    missing = clone.missing()
    assert missing == {stage: content["wanted"] for stage, content in clone.status().items()}
