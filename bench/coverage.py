"""How often do 95 % intervals hold the truth? Writes docs/results/coverage.csv.

Run from the project's root: python bench/coverage.py [LAW…]
200 studies per law, each drawn from the known law in the full study's design with the noise of
tests/law_studies.py, and given intervals from 200 resamples. `held` counts the fits that speak,
`refused` is the share of studies in which the program would not give an interval. `ideal` is what
the exact interval holds on the same studies: least squares about the truth, the noise known.
"""

import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from law_studies import CASES, N_DRAWS, N_SETS, asked_names, coverage, ideal

RESULT = Path("docs/results/coverage.csv")


def main() -> None:
    """Measure the laws that are named, or all, and keep the rows of the others."""
    for case in CASES:
        if case.law not in (sys.argv[1:] or [case.law]):
            continue
        started = time.process_time()
        held, refused = coverage(case)
        seconds = time.process_time() - started
        said = f"{held.min():.3f} … {held.max():.3f}, {refused:.3f} refused"
        print(f"{case.law}: {said}, {seconds:.0f} CPU s", flush=True)
        shares = zip(asked_names(case), held, strict=True)
        rows: list[dict[str, Any]] = [
            {"quantity": name, "held": round(float(share), 3)} for name, share in shares
        ]
        for row, share in zip(rows, ideal(case), strict=False):  # none for a critical ratio
            row["ideal"] = round(float(share), 3)
        keep(case.law, [{**row, "refused": round(refused, 3)} for row in rows])


def keep(law: str, rows: list[dict[str, Any]]) -> None:
    """Replace a law's rows in the written table."""
    new = pd.DataFrame(rows).assign(studies=N_SETS, resamples=N_DRAWS)
    new.insert(0, "law", law)
    old = pd.read_csv(RESULT) if RESULT.exists() else new.iloc[:0]
    RESULT.parent.mkdir(exist_ok=True)
    table = pd.concat([old[old.law != law], new], ignore_index=True)
    columns = ["law", "quantity", "held", "ideal", "refused", "studies", "resamples"]
    table[columns].sort_values(["law", "quantity"]).to_csv(RESULT, index=False)


if __name__ == "__main__":
    main()
