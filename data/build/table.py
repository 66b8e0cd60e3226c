"""Holds what one arc's table knows: the arc, its share of the rules, and what was said so far."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from srd import Entry, Monster

Player = dict[str, str]
WORDS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five"}
IRREGULAR = {"wolf": "wolves", "octopus": "octopuses", "elk": "elk", "infantry": "infantry"}


@dataclass(frozen=True)
class Handbook:
    """The part of the rules that is read aloud in one arc and in no other."""

    spells: list[Entry]
    items: list[Entry]
    features: list[Entry]
    monsters: list[Monster]


@dataclass
class Table:
    """One arc at play: draws lines, fills their slots and writes down the turns of a session."""

    rng: random.Random
    campaign: dict[str, Any]
    arc: dict[str, Any]
    earlier: list[dict[str, Any]]
    handbook: Handbook
    names: list[str]
    turns: list[dict[str, str]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    secrets: list[dict[str, object]] = field(default_factory=list)
    decks: dict[str, list[Any]] = field(default_factory=dict)

    def dm(self, text: str) -> None:
        """Let the dungeon master speak."""
        self.turns.append({"speaker": "DM", "text": sentence(text)})

    def say(self, player: Player, text: str) -> None:
        """Let a player speak."""
        self.turns.append({"speaker": player["speaker"], "text": sentence(text)})

    def player(self) -> Player:
        """Draw who speaks next, not the last speaker; the guest speaks as often as anyone."""
        everyone: list[Player] = [*self.campaign["players"], self.arc["guest"]]
        last = self.turns[-1]["speaker"] if self.turns else None
        return self.rng.choice([player for player in everyone if player["speaker"] != last])

    def draw(self, deck: str, cards: Sequence[Any]) -> Any:
        """Draw a card; none comes again before the deck has been gone through."""
        if not self.decks.get(deck):
            self.decks[deck] = self.rng.sample(cards, k=len(cards))
        return self.decks[deck].pop()

    def pick(self, key: str) -> Any:
        """Draw one entry of the arc's list `key`."""
        return self.draw(key, self.arc[key])

    def threat(self) -> str:
        """Draw what the villain says, in quotation marks."""
        return f'"{self.draw("threat", self.arc["villain"]["says"])}"'

    def line(self, key: str, player: Player | None = None, /, **slots: object) -> str:
        """Draw one of the campaign's lines `key` and fill its slots from the arc and `slots`."""
        text: str = self.draw(f"lines.{key}", self.campaign["lines"][key])
        return text.format(**(self.slots(player) | slots))

    def slots(self, player: Player | None) -> dict[str, object]:
        """Draw what a line may name: people, places and things of this arc."""
        hero = player or self.player()
        person = self.pick("people")
        return {
            "pc": hero["character"],
            "weapon": hero["weapon"],
            "person": person["name"],
            "role": person["role"],
            "place": self.pick("places")["name"],
            "villain": self.arc["villain"]["name"],
            "object": self.arc["object"]["name"],
            "faction": self.arc["faction"],
            "region": self.arc["region"],
            "terrain": self.pick("terrain"),
            "food": self.pick("food"),
            "fact": self.pick("facts"),
            "name": self.draw("names", self.names),
        }

    def roll(self, sides: int = 20) -> int:
        """Throw one die."""
        return self.rng.randint(1, sides)

    def some(self, entry: Entry, most: int) -> str:
        """Return up to `most` neighbouring sentences of an entry."""
        count = self.rng.randint(1, min(most, len(entry.sentences)))
        start = self.rng.randint(0, len(entry.sentences) - count)
        return " ".join(entry.sentences[start : start + count])


def sentence(text: str) -> str:
    """Return the text with its sentences in upper case and "an" before eight, eleven, eighteen."""
    text = re.sub(r"\b([Aa]) (?=8|11\b|18\b)", r"\1n ", text)
    return re.sub(r"(?:^|(?<=[.!?] ))[a-z]", lambda letter: letter[0].upper(), text)


def count_of(count: int, name: str) -> str:
    """Write a number of monsters: "three merrows"."""
    return f"{WORDS[count]} {name if count == 1 else plural(name)}"


def plural(name: str) -> str:
    """Return the plural of a monster's name; of "swarm of bats" it is "swarms of bats"."""
    head, of, rest = name.partition(" of ")
    first, space, last = head.rpartition(" ")
    if last in IRREGULAR:
        many = IRREGULAR[last]
    elif last.endswith(("s", "x", "ch", "sh")):
        many = last + "es"
    elif last.endswith("y") and last[-2] not in "aeiou":
        many = last[:-1] + "ies"
    else:
        many = last + "s"
    return first + space + many + of + rest
