"""A checkpoint → its benchmark results by lm-eval, with the items that paired errors need."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from palimpsest import known, progress
from palimpsest.core import artifacts
from palimpsest.core.benchmarks import Harness, make_harness, run_benchmarks
from palimpsest.core.models import load_causal_lm
from palimpsest.core.swap import swap_weights

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
RESULTS, ITEMS = "results.parquet", "items.parquet"


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

    inputs: weights and, for tasks that come with lm-eval, benchmarks: their folders; known: where
    results are kept by their content.
    spec: tasks, limit, batch_size, task_dir, the folder of local task files below the project's
    root, and which checkpoint: folder (its name, or "final") or kept (of those that an epoch of
    training kept before its last, the first is 1). Weights that were evaluated before, under
    whatever name, are found in the folder of known results.
    """
    started = time.monotonic()
    folder = _checkpoint(spec, inputs["weights"], out)
    if folder is None:
        return
    setting = _setting(spec, folder, inputs.get("benchmarks", []))
    parts, files = _identity(setting, limit=spec["limit"]), [out / RESULTS, out / ITEMS]
    copied = known.once(
        inputs["known"], parts, files, lambda: _evaluate(setting, spec["limit"], out)
    )
    progress.note_each("evaluated", parts | {"copied": copied})
    progress.note(wall_seconds=time.monotonic() - started)


def _evaluate(setting: Setting, limit: int | None, out: Path) -> None:
    harness = _harness(setting)
    swap_weights(harness.model, setting.folder)
    results, items = run_benchmarks(harness, limit=limit)
    results.to_parquet(out / RESULTS, index=False)
    items.to_parquet(out / ITEMS, index=False)


def _identity(setting: Setting, *, limit: int | None) -> dict[str, Any]:
    """Return all that results depend on besides this code: contents and numbers, never names.

    `files` are those of the checkpoint: weights, config, tokenizer.
    """
    return {
        "files": known.hashes(setting.folder),
        "dtype": "float32",  # whatever the file holds: `load_causal_lm`
        "tasks": setting.tasks,
        "task_files": [known.hashes(folder) for folder in setting.folders],
        "lm_eval": version("lm_eval"),
        "limit": limit,
        "batch_size": setting.batch_size,
    }


def _checkpoint(spec: dict[str, Any], weights: Path, out: Path) -> Path | None:
    """Return the folder of the weights; of those kept along the way, write down the step.

    None where an epoch kept fewer: it ended early, or took fewer updates than were to be kept.
    """
    if "folder" in spec:
        return artifacts.weights(weights, spec["folder"])
    final = artifacts.weights(weights, "final")
    earlier = [one for one in artifacts.phase_checkpoints(weights) if one.folder != final]
    found = dict(enumerate(earlier, start=1)).get(spec["kept"])
    step = None if found is None else found.step
    (out / "checkpoint.json").write_text(json.dumps({"step": step}) + "\n", "utf-8")
    if found is None:
        progress.say(f"checkpoint {spec['kept']}: this epoch kept {len(earlier)} before its last")
        return None
    return found.folder


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
