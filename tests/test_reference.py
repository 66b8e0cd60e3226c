"""docs/parameters.md and the studies that are copies of others do not drift."""

from pathlib import Path

from palimpsest import reference

ROOT = Path(__file__).resolve().parent.parent


def test_the_page_of_parameters_is_up_to_date():
    assert (ROOT / "docs" / "parameters.md").read_text("utf-8") == reference.text()


def test_the_default_study_is_the_params_file():
    default = (ROOT / "studies" / "default.yaml").read_text("utf-8")
    assert (ROOT / "params.yaml").read_text("utf-8") == default
