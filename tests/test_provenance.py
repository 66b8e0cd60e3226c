"""What stands beside the page: machines, versions, and what the artifacts that stand have cost."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from palimpsest import provenance, store


def record(stage: str, name: str, started: float, wall: float, **more: object) -> dict:
    return {
        "stage": stage,
        "name": name,
        "started": started,
        "wall_seconds": wall,
        "cpu_seconds": wall / 2,
        **more,
    }


def test_overlapping_builds_count_once_and_pauses_not_at_all() -> None:
    spans = [(0.0, 10.0), (4.0, 2.0), (8.0, 4.0), (100.0, 3.0)]
    assert provenance.busy_seconds(record("train", "a", *span) for span in spans) == 15.0
    assert provenance.busy_seconds([]) == 0.0


def test_only_artifacts_that_stand_are_summed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store.write_json(store.index("train", "k"), ["a", "b", "pulled"])
    store.write_json(store.index("bases", "k"), ["base"])
    here = {"commit": "abc", "python": "3.11", "versions": "torch 2", "hardware": "one core"}
    records = [
        record("train", "a", 20.0, 10.0, measured_n_tokens=1000.0, measured_flops=6e9, **here),
        record("train", "b", 30.0, 6.0, measured_n_tokens=500.0, measured_flops=3e9, **here),
        record("train", "parked", 0.0, 99.0, measured_n_tokens=9e9),
        record("bases", "base", 10.0, 4.0, **here | {"commit": "old"}),
    ]
    found = provenance.of_study(records)
    assert [row["stage"] for row in found["stages"]] == ["bases", "train"]
    bases, train = found["stages"]
    assert (train["n_artifacts"], train["n_recorded"]) == (3, 2)
    assert (train["cpu_seconds"], train["wall_seconds"]) == (8.0, 16.0)
    assert (train["n_tokens"], train["flops"], bases["flops"]) == (1500.0, 9e9, None)
    assert found["total"]["cpu_seconds"] == 10.0 and found["busy_seconds"] == 20.0
    assert [(one["commit"], one["n_artifacts"]) for one in found["origins"]] == [
        ("abc", 2),
        ("old", 1),
    ]


def test_the_file_is_one_call_with_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store.write_json(store.index("train", "k"), ["a"])
    page = tmp_path / "index.html"
    page.write_text('<div id="provenance" data-page="0af3"></div>')
    provenance.write([record("train", "a", 0.0, 1.0)], page=page)
    text = (store.RESULTS / "provenance.js").read_text()
    content = json.loads(text.removeprefix("showProvenance(").removesuffix(");\n"))
    assert content["total"]["n_recorded"] == 1 and content["page"] == "0af3"


def test_a_process_knows_its_commit_versions_and_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    git = ("git", "-c", "user.name=n", "-c", "user.email=e@example.org")
    (tmp_path / "src").mkdir()
    for file in ("src/code.py", "params.yaml"):
        (tmp_path / file).write_text("one")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "First"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    told = provenance.here.__wrapped__()
    assert told["commit"] == head.stdout[:12]
    assert told["python"] == platform.python_version()
    assert f"torch {version('torch')}" in told["versions"].split(", ")
    assert "cores" in told["hardware"] and "GiB" in told["hardware"]
    (tmp_path / "params.yaml").write_text("another study")
    assert provenance.here.__wrapped__()["commit"] == head.stdout[:12]
    (tmp_path / "src/policy.py").write_text("one's own, not committed yet")
    assert provenance.here.__wrapped__()["commit"] == f"{head.stdout[:12]} with changes"
    (tmp_path / "src/policy.py").unlink()
    (tmp_path / "src/code.py").write_text("two")
    assert provenance.here.__wrapped__()["commit"] == f"{head.stdout[:12]} with changes"


def test_outside_a_repository_the_commit_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.here.__wrapped__()["commit"] == ""
