"""Refuses, while planning, an amount of new text that the corpus cannot have."""

from __future__ import annotations

import gzip
import lzma
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from palimpsest import store
from palimpsest.experiments import Run
from palimpsest.faults import Fault

if TYPE_CHECKING:
    from palimpsest.plan import Artifact

TRAIN = "train.npy"  # as stages/tokens.py writes it
PLAIN = {".jsonl", ".txt", ".md"}
OPENERS: dict[str, Callable[..., IO[Any]]] = {".xz": lzma.open, ".gz": gzip.open}


def check_amounts(run: Run, tokens: Artifact, sources: list[Path]) -> None:
    """Raise Fault if a phase asks for more new tokens than there are.

    They are counted once the token file stands; until then only more tokens than bytes of text is
    known to be too many, and only where the text lies here as plain files.
    """
    bounded = bool(sources) and all(source.suffix in PLAIN | OPENERS.keys() for source in sources)
    n_tokens = _counted(tokens.stage, tokens.name)
    for phase in run.trainings:
        asked = phase.stream.get("n_new_tokens")
        if asked is None or (n_tokens is None and not bounded):
            continue
        if n_tokens is None and asked <= sum(source.stat().st_size for source in sources):
            continue  # no file unpacks to less than itself
        row = int(phase.stream["sequence_length"])
        most = n_tokens - row if n_tokens else sum(_n_bytes(source.resolve()) for source in sources)
        if asked > most:
            unit = "tokens" if n_tokens else "bytes of text"
            raise Fault(
                f"experiments.{run.experiment}.stream.n_new_tokens: {asked} is more than the "
                f"{most} {unit} that corpora.new offers to training; lower it, or leave it out to "
                "take everything"
            )


def _counted(stage: str, name: str) -> int | None:
    """Return how many training tokens a token file holds; None if it is not built yet."""
    for folder in (store.artifact(stage, name), store.parked(stage, name)):
        if store.whole(folder) and (folder / TRAIN).exists():
            return _length((folder / TRAIN).resolve())
    return None


@cache
def _length(file: Path) -> int:
    return len(np.load(file, mmap_mode="r"))


@cache
def _n_bytes(source: Path) -> int:
    """Return how many bytes a file holds, unpacked."""
    opener = OPENERS.get(source.suffix)
    if opener is None:
        return source.stat().st_size
    try:
        with opener(source, "rb") as file:
            return sum(len(block) for block in iter(lambda: file.read(1 << 20), b""))
    except (lzma.LZMAError, EOFError, gzip.BadGzipFile):
        return sys.maxsize  # the stage that reads it says what is wrong
