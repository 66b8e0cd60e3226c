"""The example of docs/guide/add-a-policy.md: one file, and nothing that exists changes."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from training_inputs import build_base, build_train, train_spec, write_inputs

from palimpsest.core import policies
from palimpsest.core.policies.step import Step

GUIDE = Path(__file__).parent.parent / "docs" / "guide" / "add-a-policy.md"
EXAMPLE = GUIDE.read_text("utf-8").split("```python\n")[1].split("```")[0]
SETTING = {"kind": "stairs", "learning_rate": 8e-3, "steps": 3}
KEYS = """
import json, sys
from pathlib import Path
from palimpsest.plan import load
stages = load(Path(sys.argv[1])).by_stage
print(json.dumps({stage: sorted(members) for stage, members in stages.items()}))
"""


def keys(project, params="params.yaml"):
    """Plan in a process of its own, by the code of the project's own `src`."""
    done = subprocess.run(
        [sys.executable, "-c", KEYS, params],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(project / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def stairs(tmp_path, monkeypatch):
    """The example as a module among the policies of this process, gone afterwards."""
    (tmp_path / "stairs.py").write_text(EXAMPLE, "utf-8")
    monkeypatch.setattr(policies, "__path__", [*policies.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    yield policies.policy("stairs")
    del sys.modules["palimpsest.core.policies.stairs"]


def test_it_is_one_file_of_about_twenty_lines():
    code = [line for line in EXAMPLE.splitlines() if line.strip() and '"""' not in line]
    assert len(code) <= 20


def test_no_existing_key_changes_and_a_study_can_name_it(source):
    project = source.parent.parent
    before = keys(project)
    (source / "core" / "policies" / "stairs.py").write_text(EXAMPLE, "utf-8")
    assert keys(project) == before
    content = yaml.safe_load((project / "params.yaml").read_text("utf-8"))
    content["experiments"]["stairs"] = {"model": "neox-6k", "policy": SETTING}
    (project / "more.yaml").write_text(yaml.safe_dump(content), "utf-8")
    after = keys(project, "more.yaml")
    added = {stage: set(after[stage]) - set(before[stage]) for stage in after}
    assert {stage: len(new) for stage, new in added.items() if new} == {
        **dict.fromkeys(("train", "recall", "evals"), 1),
        **dict.fromkeys(("tables", "fits", "report"), 1),
    }
    assert all(set(before[stage]) <= set(after[stage]) for stage in ("bases", "train", "evals"))


def test_its_trajectory_by_hand(stairs):
    params = stairs.Params(**SETTING)
    rates = [stairs.rate(params, {}, Step(index=index, line=None)) for index in range(8)]
    assert rates == [8e-3] * 3 + [4e-3] * 3 + [2e-3] * 2
    assert stairs.label(params) == "stairs from 0.008 by 0.5 per 3"


def test_training_follows_it(stairs, tmp_path):
    inputs = write_inputs(tmp_path / "inputs")
    base = build_base(inputs, tmp_path / "base")
    out = build_train(train_spec(policy=SETTING), inputs, tmp_path / "out", before=base, base=base)
    log = pd.read_parquet(out / "log.parquet")
    assert log.learning_rate.tolist() == [8e-3] * 3 + [4e-3] * 3 + [2e-3] * 2
