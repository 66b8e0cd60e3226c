"""Files, folders and hub data sets of text → records one by one, each with the place it stands at.

Read are .jsonl (also .gz and .xz), .parquet, .txt and .md files, folders of such files, folders
that `datasets` can load, folders of CRD3's episodes, archives, data sets of the Hugging Face hub.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from palimpsest.core import hub
from palimpsest.core.records import Record, lines_of
from palimpsest.faults import Fault

Placed = Iterator[tuple[str, Record]]

EPISODE = re.compile(r"C(\d+)E(\d+)\.json")
ALIGNED = re.compile(r"C\d+E\d+_\d+_\d+\.json")
TEXTS = (".txt", ".md")
SAVED_BY_DATASETS = ("dataset_info.json", "dataset_dict.json")
DOCUMENT_CHARACTERS = 10_000  # a lone text file is cut into documents of at least so many


def records(spec: dict[str, Any]) -> tuple[Placed, str | None]:
    """Return the records of a source, in its order, and the commit of a hub data set.

    spec: path (file or folder), archive {url, folder}, or dataset {repo, revision, config, split,
    files}.
    """
    if "archive" in spec:
        return _of_archive(spec["archive"]), None
    return of_hub(spec["dataset"]) if "dataset" in spec else (of_path(Path(spec["path"])), None)


def _of_archive(archive: dict[str, str]) -> Placed:
    with tempfile.TemporaryDirectory() as unpacked:
        hub.fetch_archive(archive, Path(unpacked))
        yield from of_path(Path(unpacked))


def of_path(path: Path, *, config: str | None = None, split: str = "train") -> Placed:
    """Yield what a file or folder holds; a wrong or missing one is a Fault."""
    if path.is_dir():
        return _of_folder(path, config=config, split=split)
    if path.suffix == ".parquet":
        return _of_parquet(path)
    return _of_text(path) if path.suffix in TEXTS else lines_of(path)


def _of_folder(folder: Path, *, config: str | None, split: str) -> Placed:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    if any(EPISODE.fullmatch(file.name) for file in files):
        return _of_episodes(files)
    if any(ALIGNED.fullmatch(file.name) for file in files):
        raise Fault(f"{folder}: CRD3's aligned data; give its folder `cleaned data`: C1E001.json …")
    if files and all(file.suffix in TEXTS for file in files):
        return ((str(file), {"text": _read(file), "title": file.stem}) for file in files)
    return _of_datasets(str(folder), config=config, split=split)


def _of_episodes(files: list[Path]) -> Placed:
    """Yield CRD3's episodes in campaign order; their files do not say which they are."""
    found = [(match, file) for file in files if (match := EPISODE.fullmatch(file.name))]
    for _, file in sorted(found, key=lambda pair: [int(part) for part in pair[0].groups()]):
        try:
            episode = json.loads(_read(file))
        except json.JSONDecodeError as error:
            raise Fault(f"{file}:{error.lineno}: not JSON: {error.msg}") from None
        if not isinstance(episode, dict):
            raise Fault(f"{file}: expected METADATA and TURNS, as in CRD3's cleaned data")
        yield str(file), {"episode": file.stem, **episode}


def _of_datasets(
    path: str, *, config: str | None, split: str, revision: str | None = None
) -> Placed:
    """Yield the rows of what `datasets` loads: a folder or, with a commit, a hub repository.

    What the hub refuses, or the network, is raised as it is.
    """
    import datasets

    try:
        if any((Path(path) / name).is_file() for name in SAVED_BY_DATASETS):
            loaded = datasets.load_from_disk(path)
            rows = loaded[split] if isinstance(loaded, datasets.DatasetDict) else loaded
        else:
            rows = datasets.load_dataset(
                path, name=config, split=split, revision=revision, streaming=True
            )
        yield from ((f"{path}:{number}", row) for number, row in enumerate(rows, start=1))
    except (ValueError, KeyError, OSError, ImportError, datasets.exceptions.DatasetsError) as error:
        refused = hub.refusal(error) if revision is not None else None
        if refused is not None:
            raise refused from None
        said = " ".join(str(error).split())[:300]
        raise Fault(f"{path}: `datasets` cannot read it (split {split!r}): {said}") from None


def of_hub(dataset: dict[str, Any]) -> tuple[Placed, str]:
    """Stream a hub data set; offline, read the snapshot in the hub cache."""
    repo, revision = dataset["repo"], dataset["revision"]
    config, split = dataset.get("config"), dataset.get("split", "train")
    files = dataset.get("files")
    if files or hub.offline():
        folder = hub.fetch(repo, revision, kind="dataset", patterns=(files or "*",))
        return of_path(folder, config=config, split=split), folder.name
    commit = hub.commit_of(repo, revision, kind="dataset")
    return _streamed(repo, commit, config=config, split=split), commit


def _streamed(repo: str, commit: str, *, config: str | None, split: str) -> Placed:
    with hub.faults(repo, commit, kind="dataset"):
        yield from _of_datasets(repo, config=config, split=split, revision=commit)


def _of_parquet(path: Path) -> Placed:
    number = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(1024):
            for row in batch.to_pylist():
                number += 1
                yield f"{path}:{number}", row
    except FileNotFoundError:
        raise Fault(f"{path}: no such file") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise Fault(f"{path}: cannot be read after row {number}: {error}") from None


def _of_text(path: Path) -> Placed:
    """Cut one text file at line ends into documents, so that its last ones can be held out."""
    part, start = "", 1
    lines = _read(path).splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        part += line
        if len(part) >= DOCUMENT_CHARACTERS or number == len(lines):
            if part.strip():
                yield f"{path}:{start}", {"text": part, "title": f"{path.stem}:{start}"}
            part, start = "", number + 1


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise Fault(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise Fault(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None
