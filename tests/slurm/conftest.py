"""The cluster that the tests of this folder share; the profile as a small site would edit it."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from cluster import CannotStart, Cluster
from project import Project

from palimpsest.site import PROFILE

MUST_START = "PALIMPSEST_MUST_START_SLURM"  # set where a skipped test would hide a fault


@pytest.fixture(scope="session")
def cluster():
    """Two nodes, up for all tests; what is submitted by anything here goes there."""
    # Not below pytest's own folder: munged wants a path that everybody may pass through.
    folder = Path(tempfile.mkdtemp(prefix="palimpsest-slurm-"))
    cluster = Cluster(folder)
    try:
        cluster.start()
    except CannotStart as reason:
        if MUST_START in os.environ:
            raise
        pytest.skip(f"SLURM cannot be started: {reason}")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SLURM_CONF", "PATH"):
            patch.setenv(name, cluster.environment[name])
        patch.setenv("PALIMPSEST_SAVE_SECONDS", "0")
        yield cluster
    cluster.stop()
    shutil.rmtree(folder)


def use_the_test_site(study: Project, *, batches: int = 5) -> None:
    """Send every model to the GPU node, so many runs to a process: three training jobs."""
    file = f"{PROFILE}/config.yaml"
    small = "    - {up_to: 2.0e+7, partition: cpu, cpus: 1}\n"
    study.edit(file, small, "")
    study.edit(file, "gpu: 1, cpus: 8, mem_mb: 64000", "gpu: 1, gpu_model: h100, cpus: 2")
    study.edit(file, "batches: run", f"batches: {batches}")


@pytest.fixture(scope="session")
def unbuilt(cluster, smoke, tmp_path_factory) -> Project:
    """The smoke study with nothing built, at the test site."""
    study = Project(tmp_path_factory.mktemp("unbuilt") / "study")
    smoke.run("git", "clone", "--quiet", str(smoke.folder), str(study.folder))
    (study.folder / ".work").mkdir()
    use_the_test_site(study)
    return study


@pytest.fixture
def at_site(cluster, study) -> Project:
    """The built smoke study at the test site, to be changed."""
    use_the_test_site(study)
    return study
