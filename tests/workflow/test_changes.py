"""A change builds what it must and nothing else; undone, it builds nothing (A, B, D, F)."""

from collections import Counter

import pytest

pytestmark = pytest.mark.smoke

ENDS = Counter(tables=1, fits=1, report=1)
OF_A_RATIO = Counter(probes=2, train=2, recall=2, evals=2) + ENDS


def append(study, file: str, text: str) -> None:
    with (study.folder / file).open("a") as opened:
        opened.write(text)


def items_of(study) -> str:
    """Return the items of one local task."""
    (*_, file) = sorted((study.folder / "data" / "tasks").rglob("*.jsonl"))
    return file.relative_to(study.folder).as_posix()


def test_one_more_ratio_builds_exactly_its_own_and_one_less_nothing(study):
    n_before, lock = len(study.ledger()), study.lock()
    params = (study.folder / "params.yaml").read_text()
    study.set("experiments.replay.replay_fraction", [0.0, 0.25, 0.5, 1.0])
    study.run("snakemake", "--cores", "all")
    assert study.built_since(n_before) == OF_A_RATIO
    (study.folder / "params.yaml").write_text(params)
    study.run("palimpsest", "run")
    assert study.built_since(n_before) == OF_A_RATIO
    assert study.lock() == lock


@pytest.mark.slow
def test_one_more_ratio_by_either_entry_point_gives_the_same_bytes_and_lock(study, twin):
    n_before = len(study.ledger())
    for tree in (study, twin):
        tree.set("experiments.replay.replay_fraction", [0.0, 0.25, 0.5, 1.0])
    started = study.start("palimpsest", "run"), twin.start("dvc", "repro")
    assert [process.wait() for process in started] == [0, 0], study.log() + twin.log()
    assert study.built_since(n_before) == twin.built_since(n_before) == OF_A_RATIO
    assert study.lock() == twin.lock()
    assert study.contents("runs", "results/report") == twin.contents("runs", "results/report")


def test_a_scalar_changed_and_back_builds_its_stage_once_and_then_nothing(study):
    """Changed by one entry point, back by the other; the cache is linked, which must not matter."""
    study.run("dvc", "config", "cache.type", "hardlink")
    study.run("dvc", "checkout", "--relink", "--quiet")
    n_before, lock, cache = len(study.ledger()), study.lock(), study.contents(".dvc/cache")
    assert study.inodes("runs", "results/report") & study.inodes(".dvc/cache")
    params = (study.folder / "params.yaml").read_text()
    study.set("fits.bootstrap", 150)
    study.run("palimpsest", "run")
    assert study.built_since(n_before) == Counter(fits=1, report=1)
    assert study.lock() != lock
    (study.folder / "params.yaml").write_text(params)
    study.run("dvc", "repro")
    assert study.built_since(n_before) == Counter(fits=1, report=1)
    assert study.lock() == lock
    assert cache.items() <= study.contents(".dvc/cache").items()
    assert study.run("dvc", "status", "--quiet", check=False).returncode == 0


def test_what_was_built_shares_nothing_with_the_cache(study):
    """The project links by reflink or copies, so that an editor cannot reach the cache either."""
    assert not study.inodes("runs", "results") & study.inodes(".dvc/cache")


@pytest.mark.slow
def test_a_scalar_changed_by_dvc_and_back_by_snakemake(study):
    n_before, lock = len(study.ledger()), study.lock()
    params = (study.folder / "params.yaml").read_text()
    study.set("recall.held_out_tokens", 512)
    study.run("dvc", "repro")
    changed = study.built_since(n_before)
    assert changed == Counter(recall=smoke_runs(study)) + ENDS
    (study.folder / "params.yaml").write_text(params)
    study.run("palimpsest", "run")
    assert study.built_since(n_before) == changed
    assert study.lock() == lock


def smoke_runs(study) -> int:
    return study.status()["recall"]["wanted"]


def test_a_comment_builds_nothing(study):
    n_before = len(study.ledger())
    for file in ("stages/fits.py", "core/live.py"):
        append(study, f"src/palimpsest/{file}", "\n# a remark\n")
    study.run("snakemake")
    study.run("dvc", "repro", "train", "fits")
    assert study.built_since(n_before) == Counter()


def test_code_rebuilds_its_stage_and_what_follows(study):
    n_before = len(study.ledger())
    append(study, "src/palimpsest/stages/fits.py", "\n_A_NEW_NAME = 1\n")
    why = study.status()["fits"]["missing"]
    assert list(why.values()) == [["code of stage fits"]]
    assert study.missing() == Counter(fits=1, report=1)
    study.run("snakemake", "stage_fits")
    assert study.built_since(n_before) == Counter(fits=1)
    assert study.missing() == Counter(report=1)


def test_data_ask_for_what_reads_them(study):
    append(study, items_of(study), "\n")
    status = study.status()
    missing = {stage: len(content["missing"]) for stage, content in status.items()}
    wanted = {stage: content["wanted"] for stage, content in status.items()}
    follow = ("evals", "tables", "fits", "report")
    assert missing == {stage: n if stage in follow else 0 for stage, n in wanted.items()}
    assert all(
        f"data {items_of(study)}" in "".join(why) for why in status["evals"]["missing"].values()
    )


@pytest.mark.slow
def test_data_rebuild_what_reads_them(study):
    n_before = len(study.ledger())
    append(study, items_of(study), "\n")
    n_evals = study.status()["evals"]["wanted"]
    study.run("dvc", "repro")
    assert study.built_since(n_before) == Counter(evals=n_evals) + ENDS


def test_a_wrong_params_file_stops_before_any_job_with_one_line(study):
    study.edit("params.yaml", "bootstrap:", "bootstarp:")
    done = study.run("snakemake", check=False)
    line = "error: params.yaml: fits.bootstarp: unknown key; did you mean bootstrap?"
    assert done.returncode == 2
    assert [text for text in done.stderr.splitlines() if "rror" in text] == [line]


def test_a_dry_run_writes_nothing(study):
    study.set("fits.bootstrap", 150)
    before = study.contents("runs", "results", ".work")
    done = study.run("snakemake", "--dry-run")
    assert "fits" in done.stdout + done.stderr
    assert study.contents("runs", "results", ".work") == before


@pytest.mark.slow
def test_a_dry_run_is_not_recorded(study):
    lock = study.lock()
    study.set("fits.bootstrap", 150)
    study.run("palimpsest", "run", "--", "--dry-run")
    assert study.lock() == lock


def test_a_lost_artifact_is_rebuilt_to_the_byte_when_its_stage_is_asked_for(study):
    n_before = len(study.ledger())
    (fits,) = [p for p in (study.folder / "runs" / "fits").iterdir() if p.is_dir()]
    before = study.contents("runs/fits")
    study.run("rm", "-r", str(fits))
    study.run("snakemake", "stage_fits")
    assert study.built_since(n_before) == Counter(fits=1)
    assert study.contents("runs/fits") == before
