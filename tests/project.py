"""A project folder as the workflow tests handle it: run commands there, count what was built."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import yaml

BIN = Path(sys.executable).parent
NAMED = {"GIT_AUTHOR_NAME": "test", "GIT_AUTHOR_EMAIL": "test@example.org"}
NAMED |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in NAMED.items()}


@dataclass(frozen=True)
class Project:
    """One working tree with its own git, DVC cache and runs."""

    folder: Path

    # Commands

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run a command to its end; unless check=False, a failure shows what it said."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment(command[0]),
            capture_output=True,
            text=True,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}")
        return done

    def start(self, *command: str) -> subprocess.Popen:
        """Start a command in a process group of its own."""
        with self._log.open("a") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=self._environment(command[0]),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def commit(self, message: str) -> None:
        """Commit everything in git."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--no-verify", "-m", message)

    def use(self, study: str) -> None:
        """Make a study the params.yaml."""
        self.run("palimpsest", "use", study, "--yes")

    def _environment(self, program: str) -> dict[str, str]:
        """Return what a person's shell in a clone would have; snakemake finds `src` by itself."""
        path = os.pathsep.join([str(BIN), os.environ["PATH"]])
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment |= NAMED | {"PATH": path, "OMP_NUM_THREADS": "1"}
        if program in ("palimpsest", "python"):
            environment["PYTHONPATH"] = str(self.folder / "src")
        return environment

    # Changes

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace the first occurrence of a text that must be there."""
        path = self.folder / file
        text = path.read_text("utf-8")
        assert old in text, f"{file} does not hold {old!r}"
        path.write_text(text.replace(old, new, 1), "utf-8")

    def set(self, place: str, value: object) -> None:
        """Set one leaf of params.yaml, such as fits.bootstrap."""
        path = self.folder / "params.yaml"
        params = yaml.safe_load(path.read_text("utf-8"))
        *parents, last = place.split(".")
        node = params
        for name in parents:
            node = node[name]
        node[last] = value
        path.write_text(yaml.safe_dump(params, sort_keys=False), "utf-8")

    # What is there

    def ledger(self) -> list[dict]:
        """Return one entry per artifact that was ever built here."""
        path = self.folder / ".work" / "ledger.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def built_since(self, n_before: int) -> Counter:
        """Return how many artifacts of each stage were built after the ledger had n_before."""
        return Counter(entry["stage"] for entry in self.ledger()[n_before:])

    def log(self) -> str:
        """Return what started commands said."""
        return self._log.read_text("utf-8")

    @property
    def _log(self) -> Path:
        return self.folder / ".work" / "started.log"

    def lock(self) -> str:
        """Return the text of dvc.lock."""
        return (self.folder / "dvc.lock").read_text("utf-8")

    def contents(self, *below: str) -> dict[str, bytes]:
        """Return every file below some folders, by its path."""
        roots = [self.folder / name for name in below]
        files = sorted(file for root in roots for file in root.rglob("*") if file.is_file())
        return {str(file.relative_to(self.folder)): file.read_bytes() for file in files}

    def inodes(self, *below: str) -> set[int]:
        """Return which files of the disk lie below some folders."""
        roots = [self.folder / name for name in below]
        return {file.stat().st_ino for root in roots for file in root.rglob("*") if file.is_file()}

    def status(self) -> dict:
        """Return what `palimpsest status --json` says."""
        return json.loads(self.run("palimpsest", "status", "--json").stdout)

    def missing(self) -> Counter:
        """Return how many artifacts of each stage the present params still lack."""
        return Counter({s: len(v["missing"]) for s, v in self.status().items() if v["missing"]})


def checked_out(root: Path, folder: Path) -> Project:
    """Return a fresh clone of a working tree: what git knows or would add, and nothing ignored."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listing.split("\0")):
        if (root / name).is_symlink() or (root / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name, follow_symlinks=False)
    clone = Project(folder)
    clone.run("git", "init", "--quiet", "--initial-branch", "main")
    clone.commit("The working tree")
    return clone


def copied(project: Project, folder: Path) -> Project:
    """Return a copy of a whole project folder, with shared blocks where the disk can."""
    subprocess.run(["cp", "-a", "--reflink=auto", project.folder, folder], check=True)
    return Project(folder)


def kill(process: subprocess.Popen, *, group: bool) -> None:
    """End a living process, or it and all it started, as a power cut would."""
    if group:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it had ended before"


def wait_until(there, *, seconds: float = 120.0) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not there():
        if time.monotonic() > end:
            raise AssertionError("what was waited for did not come")
        time.sleep(0.005)
