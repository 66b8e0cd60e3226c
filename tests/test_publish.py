"""Publishing: results/ holds one whole report, and says which."""

import os

import pytest

from palimpsest import publish, store
from palimpsest.faults import Fault

TABLES, FITS, REPORT = "tables-1", "fits-3", "report-2"


@pytest.fixture(autouse=True)
def built(tmp_path, monkeypatch):
    """Build a report on tables, and the index that names it."""
    monkeypatch.chdir(tmp_path)
    tables, report = store.artifact("tables", TABLES), store.artifact("report", REPORT)
    (report / "figures").mkdir(parents=True)
    fits = store.artifact("fits", FITS)
    tables.mkdir(parents=True)
    fits.mkdir(parents=True)
    (fits / "fits.json").write_text("{}")
    (fits / "surface.csv").write_text("x\n")
    (tables / "runs.csv").write_text("run\n1\n")
    (tables / "steps.parquet").write_text("binary")
    (report / "index.html").write_text("page")
    (report / "figures" / "a.svg").write_text("figure")
    (report / "metrics.json").write_text("{}")
    (report / "forgetting.csv").write_text("x\n")
    inputs = {"tables": ["tables", TABLES], "fits": ["fits", FITS]}
    store.write_json(report / store.META, {"inputs": inputs})
    store.write_json(store.index("report", "k"), [REPORT])
    for folder in (tables, fits, report):
        store.list_files(folder)


def shown() -> list[str]:
    files = (p for p in store.RESULTS.rglob("*") if p.is_file())
    return sorted(str(p.relative_to(store.RESULTS)) for p in files)


def test_results_hold_page_figures_tables_and_headlines():
    publish.publish("k")
    assert shown() == [
        "cost.csv",
        "provenance.js",
        "report/.key-k",
        "report/figures/a.svg",
        "report/fits/fits.json",
        "report/fits/surface.csv",
        "report/forgetting.csv",
        "report/index.html",
        "report/metrics.json",
        "report/tables/runs.csv",
    ]


def test_what_an_earlier_report_left_is_gone():
    publish.publish("k")
    (store.RESULTS / "report" / "old.svg").touch()
    (store.RESULTS / "report" / ".key-old").touch()
    publish.publish("k")
    assert not {"report/old.svg", "report/.key-old"} & set(shown())


def test_nothing_is_written_through_a_link():
    publish.publish("k")
    cache = store.Path("cache")
    cache.mkdir()
    files = [store.RESULTS / name for name in shown()]
    for number, file in enumerate(files):
        os.link(file, cache / str(number))
    inodes = {file: file.stat().st_ino for file in files}
    contents = {path: path.read_bytes() for path in cache.iterdir()}
    publish.publish("k")
    assert {path: path.read_bytes() for path in cache.iterdir()} == contents
    assert all(file.stat().st_ino != inode for file, inode in inodes.items())


def test_a_report_that_is_not_whole_replaces_nothing():
    publish.publish("k")
    (store.artifact("report", REPORT) / "forgetting.csv").unlink()
    before = shown()
    with pytest.raises(Fault, match="missing input"):
        publish.publish("k")
    assert shown() == before
