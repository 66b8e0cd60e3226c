"""The example of docs/guide/add-a-policy.md: one file, and nothing that exists changes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

GUIDE = Path(__file__).parent.parent / "docs" / "guide" / "add-a-policy.md"
EXAMPLE = GUIDE.read_text("utf-8").split("```python\n")[1].split("```")[0]
SETTING = {"kind": "stairs", "learning_rate": 8e-3, "steps": 3}
TRAIN = """
import json, sys
from pathlib import Path
import pandas as pd
from palimpsest.core.policies import stairs
from training_inputs import build_base, build_train, train_spec, write_inputs
setting, here = json.loads(sys.argv[1]), Path(sys.argv[2])
inputs = write_inputs(here / "inputs")
base = build_base(inputs, here / "base")
out = build_train(train_spec(policy=setting), inputs, here / "out", before=base, base=base)
rates = pd.read_parquet(out / "log.parquet").learning_rate.tolist()
print(json.dumps({"label": stairs.label(stairs.Params(**setting)), "rates": rates}))
"""
KEYS = """
import json, sys
from pathlib import Path
from palimpsest.plan import load
stages = load(Path(sys.argv[1])).by_stage
print(json.dumps({stage: sorted(members) for stage, members in stages.items()}))
"""


def in_process(project, code, *arguments):
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


def keys(project, params="params.yaml"):
    return json.loads(in_process(project, KEYS, params))


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


@pytest.mark.slow
def test_training_follows_it(source, tmp_path):
    """8e-3 for three updates, half of it for three, a quarter for the last two of eight."""
    (source / "core" / "policies" / "stairs.py").write_text(EXAMPLE, "utf-8")
    done = in_process(source.parent.parent, TRAIN, json.dumps(SETTING), str(tmp_path / "here"))
    assert json.loads(done) == {
        "label": "stairs from 0.008 by 0.5 per 3",
        "rates": [8e-3] * 3 + [4e-3] * 3 + [2e-3] * 2,
    }
