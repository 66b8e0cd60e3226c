"""`palimpsest recover --cancel`, and `dvc repro` by the profile; test_profile.py has the rest."""

from collections import Counter

import pytest
from project import wait_until

from palimpsest.site import PROFILE

pytestmark = pytest.mark.slurm


def test_running_orphans_are_cancelled_if_asked(at_site, cluster):
    place = ("--partition=cpu", "--mem=100", "--output=/dev/null", "-D", str(at_site.folder))
    cluster.command("sbatch", *place, "--job-name=palimpsest_left", "--wrap=sleep 600")
    cluster.command("sbatch", *place, "--job-name=another", "--wrap=sleep 600")
    wait_until(lambda: [job["state"] for job in cluster.queue()] == ["RUNNING", "RUNNING"])
    at_site.run("palimpsest", "recover", "--cancel", "--", "-n")
    (left,) = cluster.queue()
    assert left["name"] == "another"
    cluster.command("scancel", left["id"])


def test_dvc_repro_submits_too(at_site, cluster, monkeypatch):
    n_before = len(at_site.ledger())
    at_site.set("fits.bootstrap", 150)
    monkeypatch.setenv("SNAKEMAKE_PROFILE", str(PROFILE))
    at_site.run("dvc", "repro")
    assert at_site.built_since(n_before) == Counter(fits=1, report=1)
    record = {job["JobId"]: job for job in cluster.record()}
    assert {record[e["slurm_job"]]["Partition"] for e in at_site.ledger()[n_before:]} == {"cpu"}
    assert at_site.run("dvc", "status", "--quiet", check=False).returncode == 0
