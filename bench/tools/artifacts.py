"""What a benchmark needs of a study: its artifacts, from runs/ or else built below .bench/."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "src"))

from palimpsest.plan import Artifact, Plan, load  # noqa: E402

BENCH = ROOT / ".bench"


def default_plan() -> Plan:
    """Return the plan of the default study."""
    return load(ROOT / "studies" / "default.yaml")


def base_of(plan: Plan, model: str, *, seed: int = 0) -> Artifact:
    """Return the planned base of a size."""
    label = f"{model}_s{seed}"
    return next(base for base in plan.by_stage["bases"].values() if base.label == label)


def built(artifact: Artifact, *, below: Path = BENCH) -> Path:
    """Return an artifact's folder; what runs/ does not have is built with all it needs."""
    known = Path("runs") / artifact.stage / artifact.name
    folder = below / artifact.stage / artifact.name
    if known.is_dir() or folder.is_dir():
        return known if known.is_dir() else folder
    inputs = {
        role: [built(one, below=below) for one in given]
        if isinstance(given, list)
        else built(given, below=below)
        for role, given in artifact.inputs.items()
    }
    torch.set_num_threads(1)
    scratch = folder.with_name(f"{folder.name}.part")
    scratch.mkdir(parents=True, exist_ok=True)
    importlib.import_module(f"palimpsest.stages.{artifact.stage}").build(
        artifact.spec, inputs, scratch
    )
    return scratch.rename(folder)
