"""A task that comes with lm-eval → a folder of its own: its YAML, its functions, its data.

Fetched once, evaluations need no network. lm-eval is read, not imported: importing costs seconds.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from palimpsest.faults import Fault

SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")
SOURCE = ("dataset_path", "dataset_name", "dataset_kwargs", "include", "tag", "group")
LOADER = '''"""Gives lm-eval the rows that lie beside this file."""

from pathlib import Path

import datasets


def load(**unused):
    files = Path(__file__).parent.glob("*.parquet")
    return datasets.load_dataset("parquet", data_files={f.stem: str(f) for f in sorted(files)})
'''

Rows = Callable[[str, str | None, str], list[dict[str, Any]]]


class Function(str):
    """What stands behind `!function` in a task's YAML."""


class _Reader(yaml.SafeLoader):
    """Reads a task's YAML and keeps its functions as names."""


class _Writer(yaml.SafeDumper):
    """Writes them back."""


_Reader.add_constructor("!function", lambda _, node: Function(node.value))
_Writer.add_representer(
    Function, lambda writer, text: writer.represent_scalar("!function", str(text))
)


@cache
def task_file(task: str) -> Path | None:
    """Return the YAML of a task that comes with lm-eval; None for other names and for groups."""
    found = importlib.util.find_spec("lm_eval")
    if found is None or not found.submodule_search_locations:
        return None
    folder = Path(found.submodule_search_locations[0]) / "tasks"
    return next(iter(sorted(folder.rglob(f"{task}.yaml"))), None)


def write_task(task: str, out: Path, rows_of: Rows) -> dict[str, Any]:
    """Write a task's folder; return where its data came from.

    rows_of: (repository, configuration, split) → rows.
    """
    file = task_file(task)
    if file is None:
        raise Fault(f"evals.tasks: lm-eval has no task {task!r}")
    config = _config(file)
    repo, name = config.get("dataset_path"), config.get("dataset_name")
    if config.get("task") != task or not isinstance(repo, str):
        raise Fault(f"evals.tasks: {task} is no plain task of one data set; copy it into a folder")
    splits = sorted({config[split] for split in SPLITS if config.get(split)})
    for split in splits:
        _write_rows(rows_of(repo, name, split), out / f"{split}.parquet")
    kept = {key: value for key, value in config.items() if key not in SOURCE}
    kept |= {"custom_dataset": Function("stock_data.load")}
    text = yaml.dump(kept, Dumper=_Writer, sort_keys=True, allow_unicode=True)
    (out / f"{task}.yaml").write_text(text, "utf-8")
    (out / "stock_data.py").write_text(LOADER, "utf-8")
    for module in _modules(kept):
        if (file.parent / module).is_file():
            shutil.copyfile(file.parent / module, out / module)
    return {"repo": repo, "config": name, "splits": splits}


def _write_rows(rows: list[dict[str, Any]], file: Path) -> None:
    import pyarrow as pa  # here, since planning asks this module for task_file
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), file)


def _config(file: Path) -> dict[str, Any]:
    """Read a task's YAML with what it includes, its own words above theirs."""
    config: dict[str, Any] = yaml.load(file.read_text("utf-8"), _Reader)
    included = config.pop("include", [])
    for name in [included] if isinstance(included, str) else included:
        config = _config(file.parent / name) | config
    return config


def _modules(node: Any) -> set[str]:
    """Return the files that the functions below a node live in."""
    if isinstance(node, Function):
        return {f"{node.split('.')[0]}.py"}
    inside = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return {module for one in inside for module in _modules(one)}
