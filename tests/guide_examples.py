"""The examples of the guide's pages on adding something, put into a `src` of a test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).parent.parent / "docs" / "guide"
KEYS = """
import json, sys
from pathlib import Path
from palimpsest.plan import load
stages = load(Path(sys.argv[1])).by_stage
print(json.dumps({stage: sorted(members) for stage, members in stages.items()}))
"""


def examples(page: str) -> list[str]:
    """Return the blocks of Python on a page of the guide."""
    parts = (GUIDE / page).read_text("utf-8").split("```python\n")[1:]
    return [part.split("```")[0] for part in parts]


def in_process(project: Path, code: str, *arguments: str) -> str:
    """Run code in a process of its own, by the project's own `src`; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=project,
        env=os.environ | {"PYTHONPATH": f"{project / 'src'}:{Path(__file__).parent}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def keys(project: Path, params: str = "params.yaml") -> dict[str, list[str]]:
    """Return the names of all artifacts that a parameter file asks for, by stage."""
    return json.loads(in_process(project, KEYS, params))


def added(before: dict[str, list[str]], after: dict[str, list[str]]) -> dict[str, int]:
    """Return how many artifacts of each stage are new; stages without new ones are left out."""
    new = {stage: len(set(after[stage]) - set(before[stage])) for stage in after}
    return {stage: n for stage, n in new.items() if n}
