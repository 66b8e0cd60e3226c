"""A checkpoint → its benchmark results by lm-eval, with the items that paired errors need."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from palimpsest import progress
from palimpsest.core import artifacts
from palimpsest.core.benchmarks import Harness, make_harness, run_benchmarks
from palimpsest.core.models import load_causal_lm
from palimpsest.core.swap import swap_weights

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True)
class Setting:
    """What checkpoints must share to share a harness; `folder` is only where the first one lies."""

    config: str
    tokenizer: str
    tasks: tuple[str, ...]
    folders: tuple[Path, ...]
    batch_size: int
    folder: Path = field(compare=False)


def build(spec: dict[str, Any], inputs: dict[str, Any], out: Path) -> None:
    """Evaluate one checkpoint of a base or train artifact.

    inputs: weights and, for tasks that come with lm-eval, benchmarks: their folders.
    spec: tasks, limit, batch_size, folder (a checkpoint's name, or "final") and task_dir, the
    folder of local task files below the project's root.
    """
    started = time.monotonic()
    folder = artifacts.weights(inputs["weights"], spec["folder"])
    harness = _harness(_setting(spec, folder, inputs.get("benchmarks", [])))
    swap_weights(harness.model, folder)
    results, items = run_benchmarks(harness, limit=spec["limit"])
    results.to_parquet(out / "results.parquet", index=False)
    items.to_parquet(out / "items.parquet", index=False)
    progress.note(wall_seconds=time.monotonic() - started)


def _setting(spec: dict[str, Any], folder: Path, benchmarks: list[Path]) -> Setting:
    texts = [(folder / name).read_bytes() for name in TOKENIZER_FILES if (folder / name).is_file()]
    return Setting(
        config=(folder / "config.json").read_text("utf-8"),
        tokenizer=hashlib.sha256(b"\0".join(texts)).hexdigest(),
        tasks=tuple(spec["tasks"]),
        folders=(Path(spec["task_dir"]), *benchmarks),
        batch_size=spec["batch_size"],
        folder=folder,
    )


@lru_cache(maxsize=2)
def _harness(setting: Setting) -> Harness:
    """Build the model and its tasks; later checkpoints of the same setting get this one back."""
    return make_harness(
        load_causal_lm(setting.folder),
        setting.folder,
        tasks=setting.tasks,
        folders=setting.folders,
        batch_size=setting.batch_size,
    )
