from pathlib import Path

import pytest
import torch

from palimpsest.core.resume import Saver


def test_a_state_comes_back_with_the_folders_that_were_finished(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    (first / "step-1").mkdir(parents=True)
    (first / "step-1" / "weights").write_bytes(bytes(range(256)))
    second.mkdir()
    saver = Saver(first)
    assert saver.load() is None
    saver.save({"weights": torch.arange(3.0), "log": [{"step": 1}]}, folders=["step-1"])
    (first / "resume.pt").rename(second / "resume.pt")
    state = Saver(second).load()
    assert state is not None
    assert state["log"] == [{"step": 1}]
    assert torch.equal(state["weights"], torch.arange(3.0))
    assert (second / "step-1" / "weights").read_bytes() == bytes(range(256))


def test_a_file_cut_short_while_writing_is_never_read(tmp_path: Path) -> None:
    (tmp_path / "resume.pt.tmp").write_bytes(b"half")
    saver = Saver(tmp_path)
    assert saver.load() is None
    saver.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_environment_says_how_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALIMPSEST_SAVE_SECONDS", "1000")
    assert not Saver(tmp_path).due()
    monkeypatch.setenv("PALIMPSEST_SAVE_SECONDS", "0")
    assert Saver(tmp_path).due()
