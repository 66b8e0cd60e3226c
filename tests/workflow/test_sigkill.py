"""SIGKILL at any moment: nothing half-written counts, and the same command completes (E)."""

import os
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from moments import MOMENTS, new_folder, rename
from project import Project, copied, kill, wait_until

pytestmark = pytest.mark.smoke

TABLES_AND_FITS = ("runs/tables", "runs/fits")
COMMANDS = {
    "snakemake": ("snakemake",),
    "dvc": ("dvc", "repro"),
    "palimpsest": ("palimpsest", "run"),
}


@pytest.fixture(scope="module")
def undisturbed(smoke, tmp_path_factory) -> dict[str, bytes]:
    """Return the tables and fits of the changed study when nothing disturbs it."""
    study = copied(smoke, tmp_path_factory.mktemp("undisturbed") / "study")
    rename(study)
    study.run("snakemake", "stage_fits")
    return study.contents(*TABLES_AND_FITS)


def children(study: Project, words: str) -> list[int]:
    """Return the processes that work in a folder and have these words on their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if words in line and (process / "cwd").resolve() == study.folder.resolve():
                found.append(int(process.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def disturbed(study: Project, command: tuple[str, ...], moment: str, *, group: bool) -> None:
    """Start a command and kill it at a moment; then let the same command complete."""
    (study.folder / ".work" / "scratch").mkdir(exist_ok=True)
    there = new_folder(study, MOMENTS[moment])
    process = study.start(*command)
    wait_until(there)
    kill(process, group=group)
    study.run(*command)


def test_a_killed_snakemake_is_completed_by_the_same_command(study, undisturbed):
    rename(study)
    disturbed(study, ("snakemake", "stage_fits"), "tables begun", group=True)
    assert study.contents(*TABLES_AND_FITS) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "moment", "group"),
    [("snakemake", moment, group) for moment in MOMENTS for group in (True, False)]
    + [("dvc", moment, False) for moment in MOMENTS]
    + [("palimpsest", "results swapped", group) for group in (True, False)],
)
def test_a_command_killed_at_any_moment(study, undisturbed, program, moment, group):
    rename(study)
    disturbed(study, COMMANDS[program], moment, group=group)
    assert study.contents(*TABLES_AND_FITS) == undisturbed
    assert not study.missing()


def test_killed_and_changed_back_the_old_results_stand(study):
    before = study.contents("runs", "results/report")
    rename(study)
    there = new_folder(study, MOMENTS["fits built"])
    process = study.start("snakemake")
    wait_until(there)
    kill(process, group=True)
    study.edit("params.yaml", "  memory:", "  memory-high:")
    study.run("snakemake")
    assert study.contents("runs", "results/report") == before
    assert study.run("dvc", "status", "--quiet", check=False).returncode == 0


def test_a_killed_training_resumes_to_the_byte(study, monkeypatch):
    """Lose one trained phase, kill the worker that rebuilds it once it saved, and go on."""
    monkeypatch.setenv("PALIMPSEST_SAVE_SECONDS", "0")
    n_before, before = len(study.ledger()), study.contents("runs/train")
    lost = next((study.folder / "runs" / "train").glob("*_fixed0.01_r0_x2_*"))
    study.run("rm", "-r", str(lost))
    scratch = study.folder / ".work" / "scratch" / "train" / lost.name
    process = study.start("snakemake", "stage_train")
    wait_until(lambda: any(scratch.glob("*/resume.pt")))
    for worker in children(study, "palimpsest.worker build train"):
        os.kill(worker, signal.SIGKILL)
    assert process.wait() != 0
    assert not lost.exists()
    study.run("snakemake", "stage_train")
    assert study.built_since(n_before) == Counter(train=1)
    assert study.contents("runs/train") == before
    assert not scratch.exists()


@pytest.mark.slow
def test_the_whole_study_killed_again_and_again(smoke, tmp_path):
    """Build the study from nothing, each process group killed after some seconds."""
    study = Project(tmp_path / "clone")
    smoke.run("git", "clone", "--quiet", str(smoke.folder), str(study.folder))
    (study.folder / ".work").mkdir()
    for seconds in (4, 9, 15, 22, 30):
        process = study.start("snakemake")
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            kill(process, group=True)
    study.run("snakemake")
    assert study.contents("runs") == smoke.contents("runs")
    assert set(Counter(entry["name"] for entry in study.ledger()).values()) == {1}
