"""What happens to a study while commands work on it: jobs read what was written when planned."""

from collections import Counter

import pytest
from moments import MOMENTS, new_folder, rename
from project import wait_until

pytestmark = pytest.mark.smoke

ENDS = Counter(tables=1, fits=1, report=1)


def test_params_may_change_and_break_while_jobs_run(study):
    n_before = len(study.ledger())
    rename(study)
    planned = (study.folder / "params.yaml").read_text()
    begun = new_folder(study, MOMENTS["tables begun"])
    process = study.start("snakemake")
    wait_until(begun)
    (study.folder / "params.yaml").write_text("broken: [")
    assert process.wait() == 0, study.log()
    (study.folder / "params.yaml").write_text(planned)
    assert study.built_since(n_before) == ENDS
    assert not study.missing()


def test_two_commands_at_once_build_everything_once(study):
    n_before = len(study.ledger())
    rename(study)
    started = study.start("snakemake"), study.start("snakemake")
    assert [process.wait() for process in started] == [0, 0], study.log()
    assert study.built_since(n_before) == ENDS


def test_a_study_is_not_changed_while_a_command_works(study):
    rename(study)
    planned = (study.folder / "params.yaml").read_text()
    begun = new_folder(study, MOMENTS["tables begun"])
    process = study.start("snakemake")
    wait_until(begun)
    refused = study.run("palimpsest", "use", "smoke", "--yes", check=False)
    assert process.wait() == 0, study.log()
    assert refused.returncode == 2
    assert f"process {process.pid} works in this folder" in refused.stderr
    assert (study.folder / "params.yaml").read_text() == planned
