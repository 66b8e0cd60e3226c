"""The report's artifact → results/: what a person opens, and what DVC shows."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

from palimpsest import provenance, store

CAPTIONS = Path("workflow/report")
READ_FROM = {"tables": ["*.csv"], "fits": ["fits.json", "*.csv"]}


def publish(key: str) -> None:
    """Make results/report hold the report, its tables and fits, and the key of what stands there.

    The new folder is made beside the old one and renamed: nothing is written into what DVC may
    have linked to its cache, and no half of a report is ever seen.
    """
    (name,) = store.read_json(store.index("report", key))
    report = store.find("report", name)
    inputs = store.read_json(report / store.META)["inputs"]
    target = store.results_key(key).parent
    fresh, old = target.with_name(".report-new"), target.with_name(".report-old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(report, fresh, ignore=shutil.ignore_patterns(store.META, store.FILES))
    for role, patterns in READ_FROM.items():
        (fresh / role).mkdir()
        for pattern in patterns:
            for file in sorted(store.find(*inputs[role]).glob(pattern)):
                shutil.copyfile(file, fresh / role / file.name)
    (fresh / store.results_key(key).name).touch()
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    records = [store.read_json(path) for path in sorted(store.RECORDS.glob("*/*.json"))]
    _write_costs(records)
    provenance.write(records, page=target / "index.html")


def shown(folder: Path) -> list[tuple[str, str, str, str]]:
    """Return what Snakemake's report shows of a published folder: file, caption, category, name."""
    items = [(folder / "index.html", "The answer", "page")]
    items += [(path, "Figures", path.stem) for path in sorted(folder.glob("figures/*.svg"))]
    items += [(path, "Tables", path.stem) for path in sorted(folder.glob("tables/*.csv"))]
    return [
        (str(path), str(_caption(path).resolve()), category, name) for path, category, name in items
    ]


def _caption(path: Path) -> Path:
    """Return the caption of a published file: its own, or that of its kind."""
    own = CAPTIONS / f"{path.stem}.rst"
    return (
        own if path.suffix != ".csv" and own.exists() else CAPTIONS / f"any-{path.suffix[1:]}.rst"
    )


def _write_costs(records: list[dict[str, Any]]) -> None:
    """Write what each artifact cost, from this folder's records; it differs on every machine."""
    columns = sorted({name for record in records for name in record})
    temporary = store.RESULTS / ".cost.csv.new"
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=columns, restval="")
        writer.writeheader()
        writer.writerows(records)
    temporary.replace(store.RESULTS / "cost.csv")
