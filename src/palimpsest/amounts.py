"""Refuses, while planning, an amount of new text that the corpus cannot have."""

from __future__ import annotations

import gzip
import lzma
import math
import sys
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from palimpsest import params as P
from palimpsest import store
from palimpsest.experiments import Run, set_at
from palimpsest.faults import Fault

if TYPE_CHECKING:
    from palimpsest.plan import Artifact

TRAIN = "train.npy"  # as stages/tokens.py writes it
PLAIN = {".jsonl", ".txt", ".md"}
OPENERS: dict[str, Callable[..., IO[Any]]] = {".xz": lzma.open, ".gz": gzip.open}


class Amounts:
    """How much new text there is to train on."""

    def __init__(self, tokens: Artifact, sources: list[Path]):
        self.sources = sources
        self.n_tokens = _counted(tokens.stage, tokens.name)

    def check(self, run: Run, params: P.Params) -> None:
        """Raise Fault if a phase asks for more new tokens than there are."""
        for phase in run.trainings:
            asked = phase.stream.get("n_new_tokens")
            if asked is None or asked <= self.surely:
                continue
            most = self.most - (int(phase.stream["sequence_length"]) if self.n_tokens else 0)
            if asked > most:
                unit = "tokens" if self.n_tokens else "bytes of text"
                place = set_at(params, run.experiment, "stream.n_new_tokens")
                raise Fault(
                    f"{place}: {asked} is more than the {most} {unit} that corpora.new offers to "
                    "training; lower it, or leave it out to take everything"
                )

    @cached_property
    def surely(self) -> float:
        """An amount that needs no closer look: no file unpacks to less than itself."""
        if self.n_tokens:
            return 0
        bounded = all(source.suffix in PLAIN | OPENERS.keys() for source in self.sources)
        sizes = [source.stat().st_size for source in self.sources]
        return sum(sizes) if sizes and bounded else math.inf

    @cached_property
    def most(self) -> int:
        """Tokens once the token file stands; until then bytes of text, each at least a token."""
        return self.n_tokens or sum(_n_bytes(source.resolve()) for source in self.sources)


def _counted(stage: str, name: str) -> int | None:
    """Return how many training tokens a token file holds; None if it is not built yet."""
    for folder in (store.artifact(stage, name), store.parked(stage, name)):
        if store.whole(folder) and (folder / TRAIN).exists():
            return len(np.load(folder / TRAIN, mmap_mode="r"))
    return None


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
