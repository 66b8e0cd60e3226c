"""How long does it take to plan 3,000 runs? Prints seconds of planning and of `snakemake -n`.

Last comes `palimpsest plan` of the study on published models, offline: 10 s are its bar.

Run from the project's root: python bench/planning.py
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

RUNS = {
    "model": "neox-6k",
    "seed": list(range(100)),
    "replay_fraction": [0.0, 0.1, 0.25, 0.5, 0.75, 0.9],
    "policy": {"kind": "fixed", "learning_rate": [1.0e-4, 3.0e-4, 1.0e-3, 3.0e-3, 1.0e-2]},
}
PLAN = "import palimpsest.schedule as s; s.schedule({!r}, by='cores', cores=2)"
FILES_PER_ARTIFACT = 12
PUT = """
import palimpsest.schedule as s, palimpsest.store as store
for stage, members in s.schedule({!r}, by='cores', cores=2).plan.by_stage.items():
    for name in members:
        folder = store.artifact(stage, name)
        folder.mkdir(parents=True)
        for number in range({!r}):
            (folder / f"{{number}}.json").touch()
        store.list_files(folder)
"""


def main() -> None:
    """Measure a study of 100 seeds × 6 ratios × 5 rates, with nothing built and with everything."""
    with tempfile.TemporaryDirectory() as folder:
        root, study = Path(folder) / "project", Path(folder) / "study.yaml"
        empty_project(root)
        content = yaml.safe_load(Path("studies/smoke.yaml").read_text("utf-8"))
        study.write_text(yaml.safe_dump(content | {"experiments": {"many": RUNS}}), "utf-8")
        planning = (sys.executable, "-c", PLAN.format(str(study)))
        measure("planning, nothing there", root, *planning)
        snakemake = str(Path(sys.executable).parent / "snakemake")
        config = ("--config", f"params={study}")
        dry_run = (snakemake, "--dry-run", "--quiet", "all", *config)
        measure("snakemake -n, nothing there", root, *dry_run)
        measure(
            "(making it)", root, sys.executable, "-c", PUT.format(str(study), FILES_PER_ARTIFACT)
        )
        measure("planning, all there", root, *planning)
        measure("snakemake -n, all there", root, *dry_run)
        pythia = ("plan", "--params", str(Path("studies/pythia.yaml").resolve()))
        measure("palimpsest plan, pythia", root, sys.executable, "-m", "palimpsest.cli", *pythia)


def empty_project(root: Path) -> None:
    """Make a folder with the project's sources and nothing built."""
    root.mkdir()
    for name in ("Snakefile", "dvc.yaml", "src", "data", "workflow", "profiles"):
        (root / name).symlink_to(Path(name).resolve())


def measure(name: str, folder: Path, *command: str) -> None:
    """Run a command and print what it took."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "HF_HUB_OFFLINE": "1"}
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    wall_seconds = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{name}: {cpu_seconds:.1f} CPU s, {wall_seconds:.1f} s")


if __name__ == "__main__":
    main()
