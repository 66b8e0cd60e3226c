"""What DVC offers on top: experiments, queues, differences of metrics, plots, parameters (G)."""

import csv
import io
import json
from collections import Counter

import pytest
from project import Project

pytestmark = pytest.mark.smoke

METRICS = "results/report/metrics.json"


def told(study: Project, *command: str) -> dict:
    """Return what a DVC command says as JSON."""
    return json.loads(study.run("dvc", *command, "--json").stdout)


def experiments(study: Project) -> list[str]:
    """Return the names of the finished experiments."""
    listing = study.run("dvc", "exp", "list", "--name-only").stdout
    return [line for line in listing.split() if line]


def test_an_experiment_changes_a_param_and_shows_its_difference(study):
    n_before = len(study.ledger())
    study.run("dvc", "exp", "run", "--name", "fewer", "-S", "fits.bootstrap=150")
    assert study.built_since(n_before) == Counter(fits=1, report=1)
    assert experiments(study) == ["fewer"]
    difference = told(study, "params", "diff", "HEAD")
    assert difference == {"params.yaml": {"fits.bootstrap": {"old": 200, "new": 150, "diff": -50}}}
    shown = told(study, "metrics", "show")
    assert shown[""]["data"][METRICS]["data"] == metrics(study)
    study.run("dvc", "metrics", "diff", "HEAD")
    plot = study.run("dvc", "plots", "diff", "HEAD").stdout
    assert "index.html" in plot
    table = study.run("dvc", "exp", "show", "--csv", "--drop", ".*tables.*").stdout
    (row,) = [line for line in csv.DictReader(io.StringIO(table)) if line["Experiment"] == "fewer"]
    assert row["fits.bootstrap"] == "150"
    assert int(row["n_runs"]) == metrics(study)["n_runs"]


def metrics(study: Project) -> dict:
    return json.loads((study.folder / METRICS).read_text())


def test_plots_and_metrics_are_shown(study):
    assert metrics(study)
    study.run("dvc", "plots", "show", "--out", "plots")
    page = (study.folder / "plots" / "index.html").read_text()
    assert "forgetting_nats" in page
    assert "learning_nats" in page


@pytest.mark.slow
def test_a_queued_experiment_runs_the_code_it_was_queued_with(study):
    n_before = len(study.ledger())
    module = study.folder / "src/palimpsest/stages/fits.py"
    text = module.read_text()
    module.write_text(text + "\n_A_NEW_NAME = 1\n")
    changed = study.run("md5sum", str(module)).stdout.split()[0]
    study.run("dvc", "exp", "run", "--queue", "--name", "changed", "-S", "fits.bootstrap=140")
    module.write_text(text)
    study.run("dvc", "queue", "start", "--jobs", "1")
    study.run("dvc", "queue", "logs", "--follow", "changed", check=False)
    assert experiments(study) == ["changed"], study.run("dvc", "queue", "status").stdout
    assert study.built_since(n_before) == Counter()
    study.run("dvc", "exp", "apply", "changed")
    assert changed in study.lock()
    assert "bootstrap: 140" in study.lock()
    assert module.read_text() != text
