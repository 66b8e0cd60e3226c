"""What a SLURM site and the profile are held against; the cluster itself is in tests/slurm."""

from pathlib import Path

import pytest

from palimpsest import site, slurm
from palimpsest.faults import Fault

ROOT = Path(__file__).resolve().parent.parent
ASKS_SQUEUE = {"slurm-status-command": "squeue", "slurm-init-seconds-before-status-checks": 5}


@pytest.fixture
def shipped() -> dict:
    return site.read_profile(ROOT / site.PROFILE)


def test_the_shipped_profile_names_its_jobs_as_recover_looks_for_them(shipped):
    assert site.check_names(shipped).state == "ok"
    assert shipped["slurm-jobname-prefix"] == slurm.PREFIX
    wrong = site.check_names(shipped | {"slurm-jobname-prefix": "mine"})
    assert (wrong.state, wrong.advice) == ("error", "set slurm-jobname-prefix: palimpsest")


def test_each_kind_of_job_is_asked_of_sbatch_as_the_plugin_would(shipped):
    shipped["default-resources"]["slurm_account"] = "physics"
    shipped["config"]["nodes"] = [
        {"up_to": 2e9, "partition": "gpu", "gpu": 1, "gpu_model": "h100", "cpus": 8},
        {"up_to": 2e7, "partition": "cpu", "cpus": 2},
    ]
    assert site.job_place(shipped) == site.Place(
        "jobs without a model",
        "cpu",
        ("--mem=1500", "--account=physics", "--ntasks=1", "--cpus-per-task=1"),
    )
    small, large = site.node_places(shipped)
    assert small.options == ("--mem=3000", "--account=physics", "--ntasks=1", "--cpus-per-task=2")
    assert large.options == (
        "--mem=3000",
        "--account=physics",
        "--gpus=h100:1",
        "--cpus-per-gpu=8",
    )


@pytest.mark.parametrize(
    ("settings", "config", "state"),
    [
        (ASKS_SQUEUE, {"MinJobAge": "300 sec"}, "ok"),
        (ASKS_SQUEUE, {"MinJobAge": "15 sec"}, "ok"),
        (ASKS_SQUEUE, {"MinJobAge": "14 sec"}, "error"),
        ({"slurm-status-command": "squeue"}, {"MinJobAge": "100 sec"}, "error"),  # 3 × 40 s
        ({}, {"AccountingStorageType": "accounting_storage/none"}, "error"),
    ],
)
def test_the_end_of_a_job_must_be_seen(settings, config, state):
    assert site.check_status_command(settings, config).state == state


@pytest.mark.parametrize(
    ("settings", "config", "state"),
    [
        ({"slurm-requeue": True}, {"JobRequeue": "0"}, "ok"),
        ({}, {"JobRequeue": "1"}, "ok"),
        ({}, {"JobRequeue": "0"}, "error"),
    ],
)
def test_preempted_jobs_must_come_back(settings, config, state):
    assert site.check_requeue(settings, config).state == state


def test_without_slurm_nothing_else_is_asked(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    (only,) = site.check_site(ROOT / site.PROFILE)
    assert only.state == "error"
    assert only.found.startswith("not found: sbatch, squeue")


def test_a_missing_profile_is_named():
    with pytest.raises(Fault, match=r"none/config\.yaml: no such profile; the program's is"):
        site.read_profile(Path("none"))
