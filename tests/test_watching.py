"""The bar below a command's lines: what it counts, what it prints, and that a file sees no bar."""

import os
import pty
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from palimpsest import entry, plan, store, watching
from palimpsest.schedule import Schedule

ROOT = Path(__file__).parent.parent
WATCH = """
import os, sys
from types import SimpleNamespace
from palimpsest import watching
made = [SimpleNamespace(stage="train", name=n, cost=SimpleNamespace(seconds=s))
        for n, s in (("a-1", 1.0), ("b-2", 3.0))]
job = '''
import os, sys, time
print("train 1/2: [a] stands", file=sys.stderr, flush=True)
os.makedirs("runs/train/a-1")
time.sleep(1.5)
os.makedirs("runs/train/b-2")
print("no newline at the end", end="", file=sys.stderr, flush=True)
sys.exit(3)
'''
sys.exit(watching.call([sys.executable, "-c", job], os.environ, made))
"""


def artifact(name, seconds):
    return SimpleNamespace(stage="train", name=name, cost=SimpleNamespace(seconds=seconds))


def test_what_stands_counts_with_what_it_was_planned_to_cost(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wanted = watching.Awaited([artifact("a-1", 1.0), artifact("b-2", 3.0), artifact("c-3", 0.0)])
    assert (wanted.n_all, wanted.work) == (3, pytest.approx(4.001))
    assert wanted.look() == (0, 0)
    store.artifact("train", "b-2").mkdir(parents=True)
    assert wanted.look() == (1, pytest.approx(3.0))
    store.artifact("train", "a-1").mkdir(parents=True)
    store.artifact("train", "c-3").mkdir(parents=True)
    assert wanted.look() == (3, pytest.approx(4.001))


def on_a_terminal(folder):
    """Run WATCH on a terminal of its own; return its exit code and all that was drawn."""
    here, there = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        [sys.executable, "-c", WATCH], cwd=folder, env=environment, stdout=there, stderr=there
    )
    os.close(there)
    drawn = b""
    try:
        while part := os.read(here, 4096):
            drawn += part
    except OSError:  # how Linux ends a terminal that nobody holds
        pass
    os.close(here)
    return process.wait(), drawn.decode("utf-8")


def test_on_a_terminal_lines_stand_above_a_bar_that_moves(tmp_path):
    code, drawn = on_a_terminal(tmp_path)
    assert code == 3
    assert "train 1/2: [a] stands\r\n" in drawn
    assert "1/2 artifacts" in drawn and "left" in drawn
    assert "no newline at the end" in drawn


def test_in_a_file_the_command_prints_as_it_would_alone(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", WATCH], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 3
    assert (done.stdout, done.stderr) == ("", "train 1/2: [a] stands\nno newline at the end")


def test_a_run_awaits_what_its_stages_lack_and_what_that_needs(project):
    to_do = Schedule(plan.load(Path("params.yaml")))
    every = {artifact for stage in to_do.order for artifact in to_do.missing(stage)}
    assert entry._awaited(to_do, ["--quiet", "all"]) == every
    assert {a.stage for a in entry._awaited(to_do, ["stage_tokens"])} == {"corpora", "tokens"}
    assert entry._awaited(to_do, ["stage_tokens", "-n"]) == set()
    assert entry._awaited(to_do, [".work/done/train/1234"]) == set()
