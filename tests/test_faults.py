"""A person's mistake is one line, whatever it is: never a traceback."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from standing import stand

from palimpsest import amounts, cli, faults, sources, store, worker
from palimpsest.core.records import open_text
from palimpsest.faults import Fault
from palimpsest.plan import load

EXPERIMENT = "experiments/replay"


def fault(place: str, value: object) -> str:
    """Return what planning says of the smoke study with one leaf changed."""
    content = yaml.safe_load(Path("params.yaml").read_text("utf-8"))
    *parents, last = place.split("/")
    node = content
    for name in parents:
        node = node.setdefault(name, {})
    node[last] = value
    Path("changed.yaml").write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    sources.content_hash.cache_clear()
    with pytest.raises(Fault) as told:
        load(Path("changed.yaml"))
    return str(told.value)


@pytest.mark.parametrize(
    ("place", "value", "line"),
    [
        ("fits", None, "changed.yaml: fits: expected a mapping (got None)"),
        ("fits/laws", "power", "changed.yaml: fits.laws: expected a list (got 'power')"),
        ("fits/bootstrap", 1.5, "changed.yaml: fits.bootstrap: expected a whole number (got 1.5)"),
        ("evals/tasks", [], "changed.yaml: evals.tasks: expected at least one (got [])"),
        (
            f"{EXPERIMENT}/model",
            "neox-6",
            "experiments.replay.model: no model 'neox-6'; did you mean neox-6k?",
        ),
        (
            "corpora/tokenizer",
            {"model": "pythia-70"},
            "corpora.tokenizer.model: no published model 'pythia-70' (vocab_size would train "
            "one); did you mean pythia-70m?",
        ),
        (
            "phase/stream/n_new_tokens",
            1.5,
            "phase.stream.n_new_tokens: expected a whole number (got 1.5)",
        ),
        (
            f"{EXPERIMENT}/stream",
            {"n_new_tokens": 1.5},
            "experiments.replay.stream.n_new_tokens: expected a whole number (got 1.5)",
        ),
        (
            "phase/policy/decrease",
            0.02,
            "phase.policy.decrease: 0.02 is not probed; add it to probe.decreases",
        ),
        (
            "phase/policy",
            {"kind": "hold"},
            "phase.policy.decrease: missing; docs/parameters.md says what belongs there",
        ),
        (
            f"{EXPERIMENT}/policy",
            {"kind": "fixed"},
            "experiments.replay.policy.learning_rate: missing; docs/parameters.md says what "
            "belongs there",
        ),
        (
            f"{EXPERIMENT}/modle",
            "neox-6k",
            "experiments.replay.modle: unknown key; did you mean model?",
        ),
        (
            "corpora/new/path",
            "data/none.jsonl",
            "data/none.jsonl: named in params.yaml, but there is no such file",
        ),
    ],
)
def test_a_wrong_value_says_where_it_stands_and_what_belongs_there(project, place, value, line):
    assert fault(place, value) == line


def test_an_alias_inside_of_itself(project):
    Path("loop.yaml").write_text("corpora: &a {original: *a}\n")
    with pytest.raises(Fault, match=r"^loop.yaml: an alias \(\*\) stands inside of what it names"):
        load(Path("loop.yaml"))


# More held-out texts than there are


def episodes(folder: Path, names: str) -> str:
    folder.mkdir()
    for name in names.split():
        (folder / name).write_text("She rang the bell.\n")
    return folder.name


@pytest.mark.parametrize(
    "names", ["1.txt 2.txt 3.md", "C1E001.json C1E002.json C2E001.json README.txt"]
)
def test_a_folder_of_three_episodes_cannot_hold_out_three(project, names):
    section = {"path": episodes(project / "story", names), "held_out_episodes": 3}
    line = "corpora.new.held_out_episodes: 3: story holds 3 texts; give a number that leaves at "
    assert fault("corpora/new", section).startswith(line)


def test_lines_of_a_file_are_counted_too(project):
    count = sum(1 for _ in open_text(Path("data/dnd_sessions.jsonl.xz")))
    told = fault("corpora/new/held_out_episodes", count)
    assert f"{count}: data/dnd_sessions.jsonl.xz holds {count} texts" in told
    (project / "old.jsonl").write_text(2 * '{"text": "a"}\n\n')
    section = {"path": "old.jsonl", "held_out_documents": 2}
    line = "corpora.original.held_out_documents: 2: old.jsonl holds 2 texts; "
    assert fault("corpora/original", section).startswith(line)


@pytest.mark.parametrize("names", ["1.txt 2.txt 3.txt 4.md", "rows.json"])
def test_what_is_enough_or_cannot_be_counted_is_planned(project, names):
    content = yaml.safe_load(Path("params.yaml").read_text("utf-8"))
    path = episodes(project / "story", names)
    content["corpora"]["new"] = {"path": path, "held_out_episodes": 3}
    content["phase"]["stream"].pop("n_new_tokens")
    Path("changed.yaml").write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    assert load(Path("changed.yaml")).by_stage["corpora"]


# More new text than there is


def test_more_tokens_than_bytes_are_too_many_before_anything_is_built(project):
    source = Path("data/dnd_sessions.jsonl.xz")
    n_bytes = amounts._n_bytes(source.resolve())
    told = fault(f"{EXPERIMENT}/stream", {"n_new_tokens": n_bytes + 1})
    assert told.startswith(
        f"experiments.replay.stream.n_new_tokens: {n_bytes + 1} is more than the {n_bytes} bytes "
        "of text that corpora.new offers to training; lower it"
    )


def test_counted_tokens_are_the_limit_once_they_stand(project):
    (new,) = [a for a in load(Path("params.yaml")).by_stage["tokens"].values() if a.label == "new"]
    stand(new)
    folder = store.artifact("tokens", new.name)
    np.save(folder / "train.npy", np.zeros(5000, np.uint16))
    (folder / store.FILES).unlink()
    store.list_files(folder)
    row = yaml.safe_load(Path("params.yaml").read_text())["phase"]["stream"]["sequence_length"]
    told = fault("phase/stream/n_new_tokens", 5001 - row)
    assert told.startswith("phase.stream.n_new_tokens: ")
    assert f": {5001 - row} is more than the {5000 - row} tokens that " in told


# The system


def ended(*arguments: str, **options) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(Path("src").resolve())}
    command = [sys.executable, "-m", "palimpsest.cli", *arguments]
    return subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, **options)


def test_a_full_disk_is_one_line(source):
    with Path("/dev/full").open("w") as full:
        done = ended("plan", "--json", stdout=full)
    assert done.returncode == 2
    assert done.stderr == (
        "error: this folder: No space left on device; "
        "free some space: `palimpsest prune --dry-run`, `dvc gc`\n"
    )


def test_a_folder_that_is_no_project_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("x")
    environment = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[1])}
    for command in ("status", "verify"):
        done = subprocess.run(
            [sys.executable, "-m", "palimpsest.cli", command],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout) == (2, ""), command
        assert done.stderr.startswith("error: "), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_what_the_system_refuses_says_where_and_what_to_do(code):
    told = str(faults.of_system(OSError(code, os.strerror(code), "runs/train")))
    assert told.startswith(f"runs/train: {os.strerror(code)}; ")
    assert len(told) > len(f"runs/train: {os.strerror(code)}; ")


def test_a_programmers_fault_keeps_its_traceback():
    assert faults.of_system(OSError(errno.EBADF, "bad")) is None


def test_a_job_on_a_full_disk_says_so_in_one_line(tmp_path, monkeypatch, capsys):
    """Its scratch folder cannot be made, as on a full or read-only disk."""
    monkeypatch.chdir(tmp_path)
    member = {"name": "a-0", "key": "0", "spec": {"kind": "questions", "path": "q"}, "inputs": {}}
    order = {"inputs": [], "members": [member | {"code": "", "source": {}, "cost_seconds": 1.0}]}
    store.write_json(store.batch("corpora", "b"), order)

    def full(*_: object) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), ".work/scratch")

    monkeypatch.setattr(store, "new_attempt", full)
    assert worker.main(["build", "corpora", "b"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert ".work/scratch: No space left on device; free some space" in said
    assert "Traceback" not in said
