"""Nothing is written through a link into the DVC cache, under runs/ or results/ (F)."""

import os

import pytest

pytestmark = pytest.mark.smoke


def inodes(study, *below: str) -> set[int]:
    roots = [study.folder / name for name in below]
    return {file.stat().st_ino for root in roots for file in root.rglob("*") if file.is_file()}


def test_a_change_and_back_leaves_every_linked_cache_file_as_it_was(study):
    study.run("dvc", "config", "cache.type", "hardlink")
    study.run("dvc", "checkout", "--relink", "--quiet")
    cache = study.contents(".dvc/cache")
    assert inodes(study, "runs", "results/report") & inodes(study, ".dvc/cache")
    params = (study.folder / "params.yaml").read_text()
    study.set("fits.bootstrap", 150)
    study.run("snakemake")
    (study.folder / "params.yaml").write_text(params)
    study.run("snakemake")
    assert study.contents(".dvc/cache") == cache


def test_what_was_built_shares_nothing_with_the_cache(study):
    """The project links by reflink or copies, so that an editor cannot reach the cache either."""
    assert not inodes(study, "runs", "results") & inodes(study, ".dvc/cache")
    assert os.access(study.folder / "results" / "report" / "index.html", os.W_OK)
