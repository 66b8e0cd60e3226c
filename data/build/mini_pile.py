"""Turns the packages into the mini-pile: data/mini_pile_train.jsonl.xz and ..._held_out.jsonl.xz.

    python data/build/mini_pile.py --packages FOLDER

FOLDER holds the packages that data/README.md names.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sources
from packing import write_jsonl_xz

DATA = Path(__file__).parents[1]
SEED = 11
HELD_OUT_FRACTION = 0.08
SHORTEST_DOCUMENT = 200  # characters
SHINGLE = 8  # words
SHARED_AT_MOST = 0.15  # of a held-out document's shingles may stand in the training split
BYTES = {
    "books": 1_400_000,
    "speeches": 1_000_000,
    "encyclopedia": 900_000,
    "docs": 900_000,
    "qa": 200_000,
    "code": 900_000,
    "lexicon": 600_000,
    "maths": 330_000,
}


@dataclass(frozen=True)
class Document:
    """One document of the mini-pile."""

    domain: str
    title: str
    text: str

    def record(self) -> dict[str, Any]:
        """Return the document in the Pile's layout, with its title."""
        return {"text": self.text, "meta": {"pile_set_name": self.domain, "title": self.title}}


def main() -> None:
    """Read every domain, split it, drop what both sides share, shuffle and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--packages", type=Path, required=True)
    packages = parser.parse_args().packages
    rng = random.Random(SEED)
    train: list[Document] = []
    held_out: list[Document] = []
    for domain, n_bytes in BYTES.items():
        documents = choose(domain, read(domain, packages, rng), n_bytes=n_bytes, rng=rng)
        n_held_out = round(HELD_OUT_FRACTION * len(documents))
        held_out += documents[:n_held_out]
        train += documents[n_held_out:]
    train = without_copies(train, held_out)
    rng.shuffle(train)
    rng.shuffle(held_out)
    for name, split in (("train", train), ("held_out", held_out)):
        write_jsonl_xz(DATA / f"mini_pile_{name}.jsonl.xz", (item.record() for item in split))
        print(f"{name}: {len(split)} documents, {sum(map(n_bytes_of, split))} bytes")


def read(domain: str, packages: Path, rng: random.Random) -> Iterable[tuple[str, str]]:
    """Return the documents of one domain: the function of that name in sources.py."""
    if domain == "maths":
        return sources.maths(rng, n_documents=180, n_lines=45)
    documents: Iterable[tuple[str, str]] = getattr(sources, domain)(packages)
    return documents


def choose(
    domain: str, found: Iterable[tuple[str, str]], *, n_bytes: int, rng: random.Random
) -> list[Document]:
    """Draw different documents, not too short, until they have the given size together."""
    texts: dict[str, Document] = {}
    for title, text in found:
        if len(text.strip()) >= SHORTEST_DOCUMENT:
            texts.setdefault(text.strip(), Document(domain, title, text.strip()))
    drawn = list(texts.values())
    rng.shuffle(drawn)
    chosen, size = [], 0
    for document in drawn:
        if size >= n_bytes:
            break
        chosen.append(document)
        size += n_bytes_of(document)
    return chosen


def without_copies(train: list[Document], held_out: list[Document]) -> list[Document]:
    """Drop the training documents that share too many shingles with the held-out split."""
    held = set().union(*(shingles(document.text) for document in held_out))
    kept = []
    for document in train:
        own = shingles(document.text)
        if len(own & held) <= SHARED_AT_MOST * len(own):
            kept.append(document)
    return kept


def shingles(text: str) -> set[tuple[str, ...]]:
    """Return the runs of SHINGLE words of a text, case and punctuation ignored."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[at : at + SHINGLE]) for at in range(len(words) - SHINGLE + 1)}


def n_bytes_of(document: Document) -> int:
    """Return the size of a document's text in UTF-8 bytes."""
    return len(document.text.encode())


if __name__ == "__main__":
    main()
