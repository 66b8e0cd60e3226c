"""`snakemake --lint`; fails on any finding but the one that docs/decisions/no-conda.md explains.

Run by `make check`: python tests/lint_workflow.py
"""

import re
import subprocess
import sys
from pathlib import Path

ALLOWED = "Specify a conda environment or container for each rule."
PLACE = re.compile(r"Lints for (.*):")
FINDING = re.compile(r"    \* (.*):")
CLEAN, WITH_FINDINGS = 0, 1


def main() -> int:
    """Return 0 if there is nothing but allowed findings."""
    snakemake = Path(sys.executable).parent / "snakemake"
    done = subprocess.run([snakemake, "--lint"], capture_output=True, text=True)
    said = done.stdout + done.stderr
    found = findings(said)
    if done.returncode not in (CLEAN, WITH_FINDINGS) or (done.returncode and not found):
        print(said, file=sys.stderr)
        return 1
    wrong = [f"{place}: {finding}" for place, finding in found if finding != ALLOWED]
    print("\n".join(wrong) or f"snakemake --lint: {len(found)} findings, all allowed")
    return 1 if wrong else 0


def findings(said: str) -> list[tuple[str, str]]:
    """Return each finding and where it stands."""
    found, place = [], ""
    for line in said.splitlines():
        if match := PLACE.fullmatch(line):
            place = match[1]
        elif match := FINDING.fullmatch(line):
            found.append((place, match[1]))
    return found


if __name__ == "__main__":
    sys.exit(main())
