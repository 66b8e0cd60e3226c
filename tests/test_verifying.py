"""Verify: an artifact is what it says of itself, to the bit."""

from pathlib import Path

import pytest

from palimpsest import store
from palimpsest.fingerprint import digest
from palimpsest.verifying import artifacts, damage

SPEC = {"kind": "embedded", "seed": 0}
INPUTS = {"tokens": ["tokens", "original-0123"], "others": [["bases", "x-45"], ["bases", "y-67"]]}
KEYS = {"tokens": "0123", "others": ["45", "67"]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A base as a worker leaves it: weights, what made them, and the list of its files."""
    monkeypatch.chdir(tmp_path)
    key = digest(["bases", SPEC, KEYS, {}, "c0de"])
    folder = store.artifact("bases", f"neox_s0-{key}")
    (folder / "step_4").mkdir(parents=True)
    (folder / "step_4" / "model.safetensors").write_bytes(bytes(range(64)))
    weights = {"step_4/model.safetensors": store.sha256(folder / "step_4" / "model.safetensors")}
    meta = {"key": key, "spec": SPEC, "inputs": INPUTS, "source": {}, "code": "c0de"}
    store.write_json(folder / store.META, meta | {"weights_sha256": weights})
    (folder / "base.json").write_text("{}")
    store.list_files(folder)
    return folder


def test_a_sound_artifact(folder):
    assert damage(folder, {}) == []
    assert artifacts(("bases", "train")) == [folder]


def test_a_flipped_bit_in_the_weights(folder):
    weights = folder / "step_4" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[40] ^= 1
    weights.write_bytes(content)
    (fault,) = damage(folder, {})
    assert fault.startswith("step_4/model.safetensors is not the weights that were written")


def test_a_missing_a_shortened_and_a_foreign_file(folder):
    (folder / "base.json").unlink()
    (folder / "step_4" / "model.safetensors").write_bytes(b"")
    (folder / "notes.txt").write_text("mine")
    assert damage(folder, {}) == [
        "base.json is missing",
        "notes.txt does not belong to it",
        "step_4/model.safetensors has 0 bytes instead of 64",
    ]


def test_a_spec_that_makes_another_key(folder):
    meta = store.read_json(folder / store.META)
    meta["spec"]["seed"] = 1
    (folder / store.META).write_text(
        (folder / store.META).read_text().replace('"seed": 0', '"seed": 1')
    )
    assert damage(folder, {}) == ["meta.json describes an artifact of another key"]


def test_half_an_artifact(folder):
    (folder / store.FILES).unlink()
    assert damage(folder, {}) == ["files.txt or meta.json is missing"]


def test_parked_artifacts_are_checked_too(folder):
    target = store.parked("bases", folder.name)
    target.parent.mkdir(parents=True)
    folder.rename(target)
    assert artifacts(("bases",)) == [target]
    assert isinstance(target, Path)
