"""The command line: what a person sees, and what a mistake says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from standing import stand
from typer.testing import CliRunner

from palimpsest import cli, entry, store
from palimpsest.overview import _duration, _notes
from palimpsest.plan import load
from palimpsest.schedule import START_UP_SECONDS, own

STAGES = {
    "corpora",
    "tokens",
    "bases",
    "probes",
    "train",
    "recall",
    "evals",
    "tables",
    "fits",
    "report",
}


def typed(*arguments: str) -> subprocess.CompletedProcess:
    """Run `palimpsest ARGUMENTS` as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "palimpsest.cli", *arguments],
        env=os.environ | {"PYTHONPATH": str(Path("src").resolve())},
        capture_output=True,
        text=True,
    )


def shown(*arguments: str) -> str:
    """Return what a command prints, run in this process."""
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def studies(project):
    (project / "studies").mkdir()
    text = Path("params.yaml").read_text("utf-8")
    (project / "studies" / "other.yaml").write_text(text.replace("limit: 24", "limit: 25"))
    (project / "studies" / "same.yaml").write_text(text)
    return project / "studies"


# Mistakes


@pytest.mark.parametrize("command", ["plan", "status"])
def test_a_fault_is_one_line_and_exit_code_2(source, command):
    text = Path("params.yaml").read_text("utf-8")
    Path("params.yaml").write_text(text.replace("bootstrap:", "bootstarp:"))
    done = typed(command)
    line = "error: params.yaml: fits.bootstarp: unknown key; did you mean bootstrap?\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("-n", "tarin"), "tarin: no such stage; did you mean train?"),
        (("--agian", "evals"), "run: no option --agian; did you mean --again?"),
    ],
)
def test_run_passes_options_to_snakemake_but_no_misspelt_one_of_its_own(source, arguments, line):
    done = typed("run", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {line}\n")


def test_code_of_another_folder_is_refused(source):
    done = subprocess.run(
        [sys.executable, "-m", "palimpsest.cli", "plan"],
        env=os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: palimpsest was imported from ")
    assert done.stderr.count("\n") == 1


# status and plan


def test_status_names_all_that_is_missing_and_why(project):
    status = json.loads(shown("status", "--json"))
    assert set(status) == STAGES
    assert status["bases"]["wanted"] == len(status["bases"]["missing"]) == 4
    assert set(map(tuple, status["bases"]["missing"].values())) == {("new",)}


def test_status_knows_present_parked_and_returning(project):
    name = next(iter(json.loads(shown("status", "--json"))["bases"]["missing"]))
    meta = {"spec": {}, "code": "", "source": {}}
    for folder in (store.artifact("bases", name), store.parked("bases", "old-0123")):
        store.write_json(folder / store.META, meta)
        store.list_files(folder)
    bases = json.loads(shown("status", "--json"))["bases"]
    assert (bases["present"], bases["parked"], bases["returns"]) == (1, 1, 0)
    assert len(bases["missing"]) == 3


def test_status_reads_another_file_and_writes_nothing(studies):
    before = sorted(Path().iterdir())
    shown("status", "--params", "studies/other.yaml")
    shown("plan", "--params", "studies/other.yaml")
    assert sorted(Path().iterdir()) == before


def test_plan_counts_artifacts_batches_and_costs(project):
    totals = json.loads(shown("plan", "--json"))
    assert set(totals["stages"]) == STAGES
    train = totals["stages"]["train"]
    assert train["artifacts"] == train["missing"] == 14
    assert train["batches"] == 1
    assert train["flops"] > 0
    assert totals["rates"] == "the reference machine"
    assert totals["hours"] == pytest.approx(sum(s["hours"] for s in totals["stages"].values()))


def test_plan_measures_the_rate_from_records(project):
    before = json.loads(shown("plan", "--json"))
    record = {"estimated_seconds": 2.0, "wall_seconds": 6.0}
    store.write_json(store.record("train", "x-0123"), record)
    after = json.loads(shown("plan", "--json"))
    assert after["rates"] == "this folder's records"
    seconds = [3600 * totals["stages"]["train"]["hours"] for totals in (before, after)]
    work = [total - START_UP_SECONDS for total in seconds]  # of the one process
    assert work[1] == pytest.approx(3 * work[0])


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (0.001, "less than a minute"),
        (1 / 60, "about a minute"),
        (0.05, "about 3 minutes"),
        (2, "about 2.0 hours"),
    ],
)
def test_durations_in_words(hours, words):
    assert _duration(hours) == words


def test_gpu_hours_are_told_of_models_that_a_gpu_is_for(project):
    small = json.loads(shown("plan", "--json"))
    assert small["gpu_hours"] is None
    assert "GPU" not in shown("plan")
    text = Path("params.yaml").read_text("utf-8")
    large = text.replace("hidden_size: 32, layers: 2", "hidden_size: 512, layers: 4")
    assert large != text
    Path("params.yaml").write_text(large)
    totals = json.loads(shown("plan", "--json"))
    assert totals["gpu_hours"] > 0
    (line,) = (line for line in _notes(totals) if "GPU hours" in line)
    assert "2e+14 operations a second in bfloat16" in line and "3e+13 in fp32" in line


def test_tables_for_people_name_every_stage(project):
    for command in ("status", "plan"):
        assert set(shown(command).split()) >= STAGES


# show


def test_show_lists_the_runs_and_how_far_they_are(project):
    """Of the runs' phases one stands, with the base it began from."""
    plan = load(Path("params.yaml"))
    first = next(iter(plan.by_stage["train"].values()))
    stand(first, first.inputs["base"])
    found = json.loads(shown("show", "--json"))
    assert len(found) == 14
    run = next(run for run in found if run["run"] == first.name)
    assert (run["label"], run["key"]) == (first.label, first.key)
    assert run["stages"]["train"] == run["stages"]["bases"] == {"asked": 1, "stand": 1}
    assert run["stages"]["recall"] == {"asked": 1, "stand": 0}
    seeded = next(run for run in found if "_s2_" in run["run"])
    assert seeded["stages"]["evals"] == {"asked": 0, "stand": 0}
    table = shown("show", first.label)
    assert table.split()[:7] == ["run", "key", "bases", "probes", "train", "recall", "evals"]
    assert "Runs: 1, trained: 1." in table


def test_show_of_a_run_that_there_is_not_is_one_line(source):
    done = typed("show", "neox-6k_hold0.01_r0.5_s3")
    assert done.returncode == 2
    assert done.stderr.startswith("error: neox-6k_hold0.01_r0.5_s3: is no run; take one of neox-6k")
    assert done.stderr.endswith("; `palimpsest show` lists all\n")


# use


def test_use_shows_the_difference_and_makes_the_study_the_params(studies):
    lines = shown("use", "other", "--yes").splitlines()
    assert "-  limit: 24" in lines
    assert "+  limit: 25" in lines
    assert Path("params.yaml").read_text() == (studies / "other.yaml").read_text()


def test_use_of_the_same_study_says_so(studies):
    assert shown("use", "same") == "params.yaml already is studies/same.yaml\n"


def test_use_takes_a_path(studies):
    shown("use", "studies/other.yaml", "--yes")
    assert "limit: 25" in Path("params.yaml").read_text()


def edited() -> str:
    """Edit params.yaml by hand and return what it holds."""
    text = Path("params.yaml").read_text().replace("bootstrap: 200", "bootstrap: 201")
    Path("params.yaml").write_text(text)
    return text


def test_use_keeps_a_copy_of_an_edited_params_yaml(studies):
    text = edited()
    copy = entry.KEPT / "1.yaml"
    last = shown("use", "other", "--yes").splitlines()[-1]
    assert last == f"The edited one is kept: `palimpsest use {copy}` brings it back"
    shown("use", str(copy), "--yes")
    assert Path("params.yaml").read_text() == text
    shown("use", "same", "--yes")  # this content is kept already
    assert sorted(entry.KEPT.iterdir()) == [copy]
    edited()
    Path("params.yaml").write_text(text + "# and more\n")
    assert "2.yaml" in shown("use", "other", "--yes")


def test_use_copies_neither_a_study_nor_what_git_holds(studies):
    shown("use", "other", "--yes")
    assert "kept" not in shown("use", "same", "--yes")
    edited()
    for command in (["init", "-q"], ["add", "params.yaml"], ["commit", "-qm", "edited"]):
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", *identity, *command], check=True)
    assert "kept" not in shown("use", "other", "--yes")
    assert not entry.KEPT.exists()


# run


@pytest.mark.parametrize(
    ("typed_words", "passed"),
    [
        ("train", "stage_train"),
        ("train evals -n", "stage_train stage_evals -n"),
        ("-n train", "-n stage_train"),
        ("--cores 2 train", "--cores 2 stage_train"),
        ("-j4 -np train", "-j4 -np stage_train"),
        ("-F --profile=report train", "-F --profile=report stage_train"),
        ("stage_train --until train", "stage_train --until train"),
        ("--profile report --cores 2", "--profile report --cores 2"),
        ("all results runs/train/index-0.json", "all results runs/train/index-0.json"),
    ],
)
def test_targets_are_stages_by_their_names(project, typed_words, passed):
    assert entry.targets(typed_words.split()) == passed.split()


def test_dry_runs_are_told_from_other_short_options():
    assert [
        one
        for one in ("-n", "-np", "-Fn", "--dry-run", "-p", "--config", "train")
        if entry._is_dry(one)
    ] == ["-n", "-np", "-Fn", "--dry-run"]


def test_an_unknown_target_is_one_line_before_snakemake_starts(source):
    done = typed("run", "nosuch")
    known = "corpora, tokens, bases, probes, train, recall, evals, tables, fits, report"
    line = f"error: nosuch: no such stage; known: {known}\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)
    for words in (("run", "trian"), ("run", "--again", "trian"), ("accept", "trian")):
        done = typed(*words)
        assert done.stderr == "error: trian: no such stage; did you mean train?\n"


def test_use_of_an_unknown_study_names_the_known(studies, source):
    done = typed("use", "ohter")
    line = "error: ohter: neither a study nor a file; did you mean other?\n"
    assert (done.returncode, done.stderr) == (2, line)


def test_use_of_a_wrong_study_changes_nothing(studies, source):
    (studies / "other.yaml").write_text("repot: {}\n")
    before = Path("params.yaml").read_text()
    done = typed("use", "other", "--yes")
    assert done.returncode == 2
    assert "studies/other.yaml: repot: unknown key; did you mean report?" in done.stderr
    assert Path("params.yaml").read_text() == before


def test_use_is_refused_while_a_planner_lives(studies, source):
    before = Path("params.yaml").read_text()
    with own(wait=False):
        done = typed("use", "other", "--yes")
    assert done.returncode == 2
    assert done.stderr == f"error: process {os.getpid()} works in this folder; wait for it to end\n"
    assert Path("params.yaml").read_text() == before
    assert typed("use", "other", "--yes").returncode == 0
