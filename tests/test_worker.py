"""A worker: builds what is missing of a batch, whole or not at all, and says so in the ledger."""

import json
import os
from pathlib import Path

import pytest

from palimpsest import store, worker

QUESTIONS = '{"question": "Who rang the bell?", "answer": "Mira"}\n'


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("questions.jsonl").write_text(QUESTIONS, "utf-8")


def member(name: str, path: str = "questions.jsonl", **inputs: list) -> dict:
    """Return the written order of one artifact of the corpora stage: a list of questions."""
    return {
        "name": f"{name}-0123",
        "key": "0123",
        "spec": {"kind": "questions", "path": path},
        "inputs": inputs,
        "code": "c0de",
        "source": {path: "da7a"},
        "cost_seconds": 1.5,
    }


def work(*members: dict) -> int:
    """Write a batch down and let a worker build it; return the exit code."""
    store.write_json(store.batch("corpora", "b"), {"inputs": [], "members": list(members)})
    return worker.main(["build", "corpora", "b"])


def ledger() -> list[dict]:
    if not store.LEDGER.exists():
        return []
    return [json.loads(line) for line in store.LEDGER.read_text().splitlines()]


def test_a_batch_is_built_and_entered_in_the_ledger():
    assert work(member("one"), member("two")) == 0
    assert store.folders("corpora") == {"one-0123", "two-0123"}
    assert [entry["name"] for entry in ledger()] == ["one-0123", "two-0123"]
    assert store.read_json(store.record("corpora", "one-0123")) == ledger()[0]


def test_the_rest_is_estimated_from_what_was_built_and_its_cost(monkeypatch, capsys):
    """Members of cost 1.5: the first took 9 s with its imports, each other one 3 s."""
    now = iter([0.0, 9.0, 9.0, 12.0, 12.0, 15.0, 15.0, 18.0])
    monkeypatch.setattr(worker.progress, "begin", lambda _: None)
    monkeypatch.setattr(worker.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(worker, "_attempt", lambda *_: True)
    assert work(*map(member, "abcd")) == 0
    assert [line.partition(" stands")[2] for line in capsys.readouterr().err.splitlines()] == [
        "",
        "",
        ", about 3 s left for this batch",
        "",
    ]


def test_what_stands_is_not_built_again():
    work(member("one"))
    work(member("one"), member("two"))
    assert [entry["name"] for entry in ledger()] == ["one-0123", "two-0123"]


def test_what_waits_in_the_attic_is_taken_back_not_built():
    work(member("one"))
    store.shelve("corpora", "k", [])
    assert work(member("one")) == 0
    assert store.artifact("corpora", "one-0123").is_dir()
    assert len(ledger()) == 1


def test_an_artifact_tells_what_made_it_and_nothing_of_this_machine():
    work(member("one"))
    meta = store.read_json(store.artifact("corpora", "one-0123") / store.META)
    order = member("one")
    known = {name: order[name] for name in ("key", "spec", "inputs", "code", "source")}
    assert meta == known | {"weights_sha256": {}}


def test_the_same_order_gives_the_same_bytes():
    work(member("one"))
    folder = store.artifact("corpora", "one-0123").rename("first")
    work(member("one"))
    again = store.artifact("corpora", "one-0123")
    assert {file.name: file.read_bytes() for file in again.iterdir()} == {
        file.name: file.read_bytes() for file in folder.iterdir()
    }


def test_one_that_fails_does_not_stop_the_others(capsys):
    assert work(member("bad", "none.jsonl"), member("good")) == 1
    assert store.folders("corpora") == {"good-0123"}
    assert [entry["name"] for entry in ledger()] == ["good-0123"]
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "error: corpora: 1 of 2 failed: bad-0123"


def test_a_missing_input_is_named_in_one_line(capsys):
    assert work(member("one", original=["corpora", "none-4567"])) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == (
        "error: corpora one-0123: runs/corpora/none-4567: missing input; "
        "run `palimpsest status` to see what is"
    )


def test_a_failed_attempt_leaves_its_scratch_and_no_artifact():
    work(member("bad", "none.jsonl"))
    assert not store.artifact("corpora", "bad-0123").exists()
    assert len(list((store.SCRATCH / "corpora" / "bad-0123").iterdir())) == 1


def test_a_worker_reads_the_order_and_never_the_params():
    Path("params.yaml").write_text("broken: [")
    Path("dvc.yaml").write_text("broken: [")
    assert work(member("one")) == 0


def test_an_index_step_parks_what_the_order_does_not_name():
    work(member("one"), member("two"))
    store.write_json(store.index_order("corpora", "k"), {"inputs": [], "wanted": ["two-0123"]})
    assert worker.main(["index", "corpora", "k"]) == 0
    assert store.artifact("corpora", "two-0123").is_dir()
    assert store.parked("corpora", "one-0123").is_dir()


def test_a_dead_worker_frees_its_lock():
    child = os.fork()
    if child == 0:
        with store.building("corpora", "one-0123"):
            os._exit(0)
    os.waitpid(child, 0)
    assert work(member("one")) == 0
