"""What `make` says before and after it works for minutes, and where what it makes is ignored."""

import subprocess
from pathlib import Path

from palimpsest.commands.report import FIGURES

ROOT = Path(__file__).resolve().parent.parent


def test_setup_says_first_what_it_does_and_last_what_comes_next():
    command = ["make", "--no-print-directory", "--dry-run", "--always-make", "setup"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = said.splitlines()
    assert lines[0].startswith('echo "Installing requirements.lock into .venv')
    assert lines[-1].startswith("""echo "Ready. 'make run' builds the study""")


def test_figures_drawn_alone_lie_where_git_ignores_them_and_dvc_does_not_look():
    assert f"/{FIGURES.parts[0]}/" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert FIGURES.parts[:2] != ("results", "report")
