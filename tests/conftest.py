"""Fixtures that several test files share: a folder to plan in, and the smoke study, built once."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from filelock import FileLock

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes of pytest-xdist share the cores

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from project import Project, checked_out, copied  # noqa: E402

from palimpsest import sources  # noqa: E402


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Stand in a folder that planning takes for the project: the smoke study and nothing built."""
    for name in ("src", "data"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    shutil.copy(ROOT / "studies" / "smoke.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    sources.content_hash.cache_clear()
    return tmp_path


@pytest.fixture
def source(project):
    """Give the folder a `src` of its own, to be edited."""
    (project / "src").unlink()
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", project / "src", ignore=ignored)
    return project / "src" / "palimpsest"


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Project:
    """The smoke study in a clone, built by snakemake and recorded in DVC. Not to be changed.

    The first process that asks builds it for all.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    where = shared / "smoke.path"
    with FileLock(shared / "smoke.lock"):
        if not where.exists():
            built = _built_smoke(tmp_path_factory.mktemp("smoke") / "built")
            where.write_text(str(built.folder), "utf-8")
    return Project(Path(where.read_text("utf-8")))


def _built_smoke(folder: Path) -> Project:
    built = checked_out(ROOT, folder)
    built.use("studies/smoke.yaml")
    built.commit("The smoke study")
    built.run("palimpsest", "run")
    built.run("dvc", "commit", "--force", "--quiet")
    built.commit("Built")
    return built


@pytest.fixture
def study(smoke, tmp_path) -> Project:
    """A copy of the built smoke study, to be changed."""
    return copied(smoke, tmp_path / "study")


@pytest.fixture
def twin(smoke, tmp_path) -> Project:
    """A second copy of the built smoke study."""
    return copied(smoke, tmp_path / "twin")
