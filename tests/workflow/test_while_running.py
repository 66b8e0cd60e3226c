"""What happens to a study while commands work on it: jobs read what was written when planned."""

from collections import Counter

import pytest
from moments import MOMENTS, new_folder
from project import wait_until

pytestmark = pytest.mark.smoke

FITS = ("snakemake", "stage_fits")


def test_while_jobs_run_the_params_may_break_but_not_be_replaced_by_a_study(study):
    n_before = len(study.ledger())
    study.set("fits.bootstrap", 150)
    planned = (study.folder / "params.yaml").read_text()
    begun = new_folder(study, MOMENTS["fits begun"])
    process = study.start(*FITS)
    wait_until(begun)
    refused = study.run("palimpsest", "use", "smoke", "--yes", check=False)
    unchanged = (study.folder / "params.yaml").read_text()
    (study.folder / "params.yaml").write_text("broken: [")
    assert process.wait() == 0, study.log()
    assert (refused.returncode, unchanged) == (2, planned)
    assert f"process {process.pid} works in this folder" in refused.stderr
    (study.folder / "params.yaml").write_text(planned)
    assert study.built_since(n_before) == Counter(fits=1)
    assert study.missing() == Counter(report=1)


def test_two_commands_at_once_build_everything_once(study):
    n_before = len(study.ledger())
    study.set("fits.bootstrap", 150)
    started = study.start(*FITS), study.start(*FITS)
    assert [process.wait() for process in started] == [0, 0], study.log()
    assert study.built_since(n_before) == Counter(fits=1)
