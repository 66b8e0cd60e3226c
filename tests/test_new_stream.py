"""The example of docs/guide/add-a-stream.md: one file, and nothing that exists changes."""

import json

import pytest
import yaml
from guide_examples import added, examples, in_process, keys

(EXAMPLE,) = examples("add-a-stream.md")
SETTING = {"kind": "growing", "sequence_length": 4, "batch_tokens": 6, "growth": 4}
BATCHES = """
import json, sys
import numpy as np
from palimpsest.core.streams import make_stream
corpus = np.arange(40, dtype=np.uint16)
one = make_stream(json.loads(sys.argv[1]), new=corpus, original=corpus, replay_fraction=0.5, seed=0)
offset = one.pieces[0].position - 1
rows = [[(int(r.tokens[0]) - offset, r.n_targets) for r in one.batch(s).new] for s in range(4)]
print(json.dumps({
    "n_steps": one.n_steps,
    "rows": rows,
    "replayed": [one.batch(step).n_replay_tokens for step in range(4)],
    "pieces": [(p.piece, p.position - offset, p.n_tokens) for p in one.pieces],
    "steps": [one.steps_of(piece) for piece in range(4)],
}))
"""
TRAIN = """
import json, sys
from pathlib import Path
import pandas as pd
from training_inputs import build_base, build_train, train_spec, write_inputs
here = Path(sys.argv[2])
inputs = write_inputs(here / "inputs")
base = build_base(inputs, here / "base")
spec = train_spec(stream=json.loads(sys.argv[1]))
out = build_train(spec, inputs, here / "out", before=base, base=base)
print(json.dumps(pd.read_parquet(out / "log.parquet").n_new_tokens.tolist()))
"""


@pytest.fixture
def growing(source):
    """A project with the example in its `src`."""
    (source / "core" / "streams" / "growing.py").write_text(EXAMPLE, "utf-8")
    return source.parent.parent


def test_its_batches_grow_by_hand(growing):
    """33 targets in batches of 6, 10, 14 and the 3 that are left; rows of 4 at most."""
    done = json.loads(in_process(growing, BATCHES, json.dumps(SETTING | {"n_new_tokens": 33})))
    assert done == {
        "n_steps": 4,
        "rows": [
            [[0, 4], [4, 2]],
            [[6, 4], [10, 4], [14, 2]],
            [[16, 4], [20, 4], [24, 4], [28, 2]],
            [[30, 3]],
        ],
        "replayed": [6, 10, 14, 3],
        "pieces": [[0, 1, 6], [1, 7, 10], [2, 17, 14], [3, 31, 3]],
        "steps": [[0], [1], [2], [3]],
    }


def test_no_existing_key_changes_and_a_study_can_name_it(source):
    project = source.parent.parent
    before = keys(project)
    (source / "core" / "streams" / "growing.py").write_text(EXAMPLE, "utf-8")
    assert keys(project) == before
    content = yaml.safe_load((project / "params.yaml").read_text("utf-8"))
    setting = SETTING | {"sequence_length": 64, "batch_tokens": 128}
    content["experiments"]["growing"] = {"model": "neox-6k", "stream": setting}
    (project / "more.yaml").write_text(yaml.safe_dump(content), "utf-8")
    found = added(before, keys(project, "more.yaml"))
    assert found["train"] == 1
    assert {"corpora", "tokens", "bases"}.isdisjoint(found)


@pytest.mark.slow
def test_training_follows_it(growing, tmp_path):
    """100 targets: 32, 48 and the 20 that are left, each update's number in the log."""
    setting = {"kind": "growing", "sequence_length": 16, "batch_tokens": 32, "growth": 16}
    setting |= {"n_new_tokens": 100}
    done = in_process(growing, TRAIN, json.dumps(setting), str(tmp_path / "here"))
    assert json.loads(done) == [32, 80, 100]
