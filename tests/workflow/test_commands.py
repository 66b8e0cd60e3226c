"""The commands on a built study: what they find, change, and leave alone."""

import json
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.smoke


def logs(study) -> set[str]:
    """Return the logs of Snakemake: one per call."""
    return {path.name for path in (study.folder / ".snakemake" / "log").iterdir()}


def test_a_run_with_nothing_to_do_calls_neither_snakemake_nor_dvc(study):
    study.run("palimpsest", "run")  # a copy lies elsewhere; DVC looks at it once
    before, lock = logs(study), (study.folder / "dvc.lock").stat().st_mtime_ns
    said = study.run("palimpsest", "run").stdout
    assert logs(study) == before
    assert (study.folder / "dvc.lock").stat().st_mtime_ns == lock
    assert said == f"report: {study.folder / 'results/report/index.html'}\n"


def test_verify_finds_one_flipped_bit(study):
    sound = json.loads(study.run("palimpsest", "verify", "train", "--json").stdout)
    wanted = study.status()["train"]["wanted"]
    assert sound == {"checked": wanted, "recorded_in_dvc": wanted, "damaged": {}}
    weights = min((study.folder / "runs" / "train").rglob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    done = study.run("palimpsest", "verify", "--json", check=False)
    assert done.returncode == 1
    ((folder, faults),) = json.loads(done.stdout)["damaged"].items()
    assert weights.is_relative_to(study.folder / folder)
    assert "its SHA-256 differs" in faults[0]
    assert faults[1].endswith(": not what DVC recorded")


def test_a_figure_alone_is_the_reports_own(study):
    said = study.run("palimpsest", "report", "--figure", "forgetting", "--to", "alone").stdout
    assert said == "alone/forgetting.svg\n"
    assert (
        study.contents("alone")["alone/forgetting.csv"]
        == (study.folder / "results" / "report" / "figures" / "forgetting.csv").read_bytes()
    )


def test_a_figure_that_does_not_exist(study):
    done = study.run("palimpsest", "report", "--figure", "nothing", check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --figure nothing: no such figure; known: ")


def test_snakemakes_own_report_shows_figures_tables_and_page(study):
    study.run("snakemake", "--report", "results/snakemake-report.html")
    page = (study.folder / "results" / "snakemake-report.html").read_text("utf-8")
    for category in ("The answer", "Figures", "Tables"):
        assert f'"{category}"' in page, category
    figures = {path.stem for path in (study.folder / "results/report/figures").glob("*.svg")}
    assert "forgetting" in figures
    assert all(f"figures/{name}.svg" in page for name in figures)
    caption = (study.folder / "workflow/report/forgetting.rst").read_text().split(",")[0]
    assert caption in page


def test_every_figure_has_a_caption_of_its_own(smoke):
    from palimpsest.core.plots.every import FIGURES

    captions = {path.stem for path in (smoke.folder / "workflow" / "report").glob("*.rst")}
    assert {figure.__name__.replace("_", "-") for figure in FIGURES} <= captions


def test_doctor_finds_this_machine_fit(study):
    done = study.run("palimpsest", "doctor", "--json", check=False)
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert {"python", "packages", "gpu", "slurm", "dvc remote", "disk", "hub"} <= set(checks)
    assert checks["disk"]["state"] == "ok"
    assert done.returncode == int(any(check["state"] == "error" for check in checks.values()))


@pytest.mark.slow
def test_prune_asks_keeps_what_is_not_committed_and_restore_undoes_it(study):
    params = (study.folder / "params.yaml").read_text()
    study.set("fits.bootstrap", 150)
    study.run("palimpsest", "run")
    done = study.run("palimpsest", "prune", check=False)
    assert done.returncode == 2
    assert "Nobody can be asked here: add --yes" in done.stderr
    older = study.folder / ".work" / "known" / "evals" / "c0de"
    older.mkdir()
    known = study.contents(".work/known")
    study.run("palimpsest", "prune", "--yes")
    assert not study.contents(".work/attic")
    assert not older.exists()
    assert study.contents(".work/known") == known
    (study.folder / "params.yaml").write_text(params)
    assert study.missing() == Counter(fits=1, report=1)
    study.run("palimpsest", "prune", "--yes")  # what bootstrap 150 made was never committed
    assert (study.folder / "runs" / "fits").is_dir()
    study.run("palimpsest", "restore", "HEAD")
    assert not study.missing()
    n_before = len(study.ledger())
    study.run("palimpsest", "run")
    assert study.built_since(n_before) == Counter()
    kept = {path.split("/")[2] for path in study.contents(".work/attic")}
    assert kept == {"fits", "report"}


@pytest.mark.slow
def test_built_again_it_is_the_same(study):
    before, n_before = study.contents("runs"), len(study.ledger())
    said = study.run("palimpsest", "run", "--again", "fits").stderr
    assert study.built_since(n_before) == Counter(fits=1)
    assert "fits: 1 built again, 0 came out different" in said
    assert study.contents("runs") == before
    assert not Path(study.folder / ".work" / "again").exists()


@pytest.mark.slow
def test_benchmarks_built_again_are_evaluated_again(study):
    """Results that are known by content are forgotten first."""
    for path in study.folder.glob(".work/known/evals/*/*/results.parquet"):
        path.write_bytes(b"")
    before, n_before = study.contents("runs"), len(study.ledger())
    study.run("palimpsest", "run", "--again", "evals")
    built = [entry["name"] for entry in study.ledger()[n_before:]]
    records = [study.folder / ".work" / "records" / "evals" / f"{name}.json" for name in built]
    told = [json.loads(record.read_text())["evaluated"] for record in records]
    known = list(study.folder.glob(".work/known/evals/*/*/results.parquet"))
    assert len(known) == sum(not one["copied"] for one in told) > 0
    assert all(path.stat().st_size for path in known)
    assert study.contents("runs") == before


@pytest.mark.slow
def test_accepted_code_builds_nothing_by_either_entry_point(study):
    n_before, keys = len(study.ledger()), study.contents("runs").keys()
    with (study.folder / "src/palimpsest/stages/fits.py").open("a") as file:
        file.write("\n_A_NEW_NAME = 1\n")
    assert study.missing() == Counter(fits=1, report=1)
    study.run("palimpsest", "accept", "fits")
    assert not study.missing()
    called = study.run("dvc", "repro")
    assert "snakemake --cores all stage_fits" in called.stdout
    assert "Nothing to be done" not in called.stdout + called.stderr
    study.run("palimpsest", "run")
    assert study.built_since(n_before) == Counter()
    assert study.contents("runs").keys() == keys
    assert study.run("dvc", "status", "--quiet", check=False).returncode == 0
