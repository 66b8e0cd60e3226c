"""Writes the shipped files: JSON lines, compressed, the same bytes on every run."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def write_jsonl_xz(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object per line as .xz."""
    with lzma.open(path, "wt", encoding="utf-8", preset=9, newline="\n") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def write_jsonl(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object per line."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
