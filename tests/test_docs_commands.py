"""The guide's page on commands names every command, and no other."""

import re
from pathlib import Path

from palimpsest.cli import COMMANDS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "guide" / "commands.md"


def test_the_page_names_every_command_and_no_other():
    rows = re.findall(r"^\| `(\w+)", PAGE.read_text("utf-8"), re.MULTILINE)
    assert set(rows) == {name for names in COMMANDS.values() for name in names}
