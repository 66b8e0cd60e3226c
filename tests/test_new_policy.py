"""The example of docs/guide/add-a-policy.md: one file, and nothing that exists changes."""

import json

import pytest
import yaml
from guide_examples import added, examples, in_process, keys

(EXAMPLE,) = examples("add-a-policy.md")
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
    assert added(before, after) == {
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
