"""`palimpsest doctor --slurm` on a site that fits, and on one that does not."""

import json
import shutil

import pytest
from project import Project

from palimpsest.site import PROFILE

pytestmark = pytest.mark.slurm


def checks(study: Project) -> dict[str, dict]:
    said = study.run("palimpsest", "doctor", "--slurm", "--json", check=False)
    return {"exit code": said.returncode} | {c["name"]: c for c in json.loads(said.stdout)}


@pytest.fixture
def clone(cluster, tmp_path, request) -> Project:
    """A folder with the program and the profile as it is shipped."""
    root = request.config.rootpath
    for name in ("src", "workflow"):
        shutil.copytree(root / name, tmp_path / name)
    return Project(tmp_path)


def test_a_site_that_fits_and_its_shared_folder(clone, cluster):
    found = checks(clone)
    assert found.pop("exit code") == 0
    assert {check["state"] for check in found.values()} == {"ok"}
    assert found["shared folder: rename"]["found"].startswith("40 of 40 renames succeeded once")
    assert found["shared folder: locks"]["found"].startswith("5 of 5 locks")
    tried = [job for job in cluster.record() if job["WorkDir"] == str(clone.folder)]
    assert {job["NodeList"] for job in tried} == {"n1", "n2"}
    assert not list((clone.folder / ".work" / "doctor").iterdir())


def test_each_thing_that_does_not_fit_is_named(clone):
    file = f"{PROFILE}/config.yaml"
    clone.edit(file, "partition: gpu, gpu: 1", "partition: gpu, gpu: 1, gpu_model: a100")
    clone.edit(file, "slurm_partition: cpu", "slurm_partition: standard")
    clone.edit(file, "status-checks: 5", "status-checks: 200")
    clone.edit(file, "slurm-requeue: true", "slurm-requeue: false")
    found = checks(clone)
    assert found.pop("exit code") == 1
    wrong = {name: check for name, check in found.items() if check["state"] == "error"}
    assert set(wrong) == {
        "status of jobs",
        "jobs without a model",
        "models up to 2e+09 parameters",
    }
    assert "MinJobAge is 300 s, 600 s are needed" in wrong["status of jobs"]["found"]
    assert wrong["status of jobs"]["advice"].endswith("at most 100")
    assert "invalid partition specified: standard" in wrong["jobs without a model"]["found"]
