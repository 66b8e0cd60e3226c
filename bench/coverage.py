"""How often do 95 % intervals hold the truth? Writes docs/results/coverage.csv.

Run from the project's root: python bench/coverage.py [LAW…] [--studies 200]
Each study is drawn from the known law in the full study's design with the noise of
tests/law_studies.py, and given intervals from 200 resamples. `held` counts the fits that speak,
`refused` is the share of studies in which the program would not give an interval. `ideal` is what
the exact interval holds on the same studies: least squares about the truth, the noise known.
"""

import argparse
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
    parser = argparse.ArgumentParser()
    parser.add_argument("laws", nargs="*", default=[case.law for case in CASES])
    parser.add_argument("--studies", type=int, default=N_SETS)
    asked = parser.parse_args()
    seeds = range(asked.studies)
    for case in CASES:
        if case.law not in asked.laws:
            continue
        started = time.process_time()
        held, refused = coverage(case, seeds=seeds)
        seconds = time.process_time() - started
        said = f"{held.min():.3f} … {held.max():.3f}, {refused:.3f} refused"
        print(f"{case.law}: {said}, {seconds:.0f} CPU s", flush=True)
        shares = zip(asked_names(case), held, strict=True)
        rows: list[dict[str, Any]] = [
            {"quantity": name, "held": round(float(share), 3)} for name, share in shares
        ]
        exact = ideal(case, seeds=seeds)  # none for a critical ratio, the last quantity
        for row, share in zip(rows, exact, strict=False):
            row["ideal"] = round(float(share), 3)
        keep(case.law, [{**row, "refused": round(refused, 3)} for row in rows], asked.studies)


def keep(law: str, rows: list[dict[str, Any]], n_studies: int) -> None:
    """Replace a law's rows in the written table."""
    new = pd.DataFrame(rows).assign(studies=n_studies, resamples=N_DRAWS)
    new.insert(0, "law", law)
    old = pd.read_csv(RESULT) if RESULT.exists() else new.iloc[:0]
    RESULT.parent.mkdir(exist_ok=True)
    table = pd.concat([old[old.law != law], new], ignore_index=True)
    columns = ["law", "quantity", "held", "ideal", "refused", "studies", "resamples"]
    table[columns].sort_values(["law", "quantity"]).to_csv(RESULT, index=False)


if __name__ == "__main__":
    main()
