"""Snakemake in one folder, DVC in another: the same bytes and the same lock."""

from collections import Counter

import pytest
from project import Project

pytestmark = [pytest.mark.smoke, pytest.mark.slow]


def test_dvc_alone_builds_what_snakemake_built(smoke, tmp_path):
    clone = Project(tmp_path / "clone")
    smoke.run("git", "clone", "--quiet", str(smoke.folder), str(clone.folder))
    (clone.folder / "dvc.lock").unlink()
    clone.run("dvc", "repro")
    assert clone.contents("runs", "results/report") == smoke.contents("runs", "results/report")
    assert clone.lock() == smoke.lock()
    built = [Counter(entry["name"] for entry in tree.ledger()) for tree in (smoke, clone)]
    assert built[0] == built[1]
