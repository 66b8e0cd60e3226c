"""More checkpoints cost DVC their own bytes: nothing that it holds is copied or written again."""

import subprocess
from pathlib import Path

import pytest

STAGE = """\
stages:
  train:
    cmd: "true"
    outs:
      - runs/train: {persist: true}
"""
N_OLD, N_NEW, FILES_EACH = 200, 7, 2


def add(*numbers: int) -> None:
    for number in numbers:
        folder = Path("runs/train") / f"run-{number}"
        folder.mkdir(parents=True)
        for name in ("model.safetensors", "meta.json"):
            (folder / name).write_text(f"{number} {name}")


def record() -> None:
    from dvc.repo import Repo

    with Repo() as repo:
        repo.commit("train", force=True)


def files(root: str) -> dict[str, tuple[int, int]]:
    """Return inode and time of change of every file below a folder."""
    paths = [path for path in Path(root).rglob("*") if path.is_file()]
    return {str(p): (p.stat().st_ino, p.stat().st_mtime_ns) for p in paths}


@pytest.mark.parametrize("link", ["copy", "hardlink"])
def test_old_checkpoints_are_left_alone_when_new_ones_are_recorded(tmp_path, monkeypatch, link):
    from dvc.repo import Repo

    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    Repo.init().close()
    with Repo() as repo, repo.config.edit() as config:
        config["cache"]["type"] = [link]
    Path("dvc.yaml").write_text(STAGE)
    add(*range(N_OLD))
    record()
    runs, cache = files("runs"), files(".dvc/cache")
    assert len(cache) == N_OLD * FILES_EACH + 1
    add(*range(N_OLD, N_OLD + N_NEW))
    record()
    assert runs.items() <= files("runs").items()
    after = files(".dvc/cache")
    assert cache.items() <= after.items()
    assert len(after) - len(cache) == N_NEW * FILES_EACH + 1
