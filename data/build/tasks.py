"""Turns the held-out texts into the items of data/tasks: LAMBADA form and HellaSwag form.

    python data/build/tasks.py

Items and their contexts come from the held-out split of the mini-pile, one wrong ending of each
HellaSwag-form item from the last sessions of the DnD corpus. The training split is only counted,
to see which last words are predictable.
"""

from __future__ import annotations

import json
import lzma
import random
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packing import write_jsonl

DATA = Path(__file__).parents[1]
SEED = 5
PROSE = ("books", "speeches", "encyclopedia", "docs", "qa", "lexicon")

LAMBADA_ITEMS = 500
CONTEXT_WORDS = 40  # about 70 tokens of a 2,048-entry vocabulary: fits a context of 128
WORDS_BETWEEN_TARGETS = 20
SMALLEST_COUNT = 4  # of the two words before, in the training split
SMALLEST_SHARE = 0.25  # of the target among their successors

HELLASWAG_ITEMS = 400
SENTENCE_CHARACTERS = range(30, 200)
SHORTEST_ENDING = 5  # words
LENGTH_TOLERANCE = 0.2  # of a wrong ending against the right one, in characters
LAST_SESSIONS = 3  # held out in every study that holds out at least three episodes

Record = dict[str, Any]
Successors = dict[tuple[str, str], Counter[str]]


@dataclass(frozen=True)
class Passage:
    """Three neighbouring sentences: what is given, and how the third one ends."""

    domain: str
    query: str
    ending: str


def main() -> None:
    """Write both tasks' items."""
    train, held_out = (prose(f"mini_pile_{split}.jsonl.xz") for split in ("train", "held_out"))
    tasks = DATA / "tasks"
    lambada = lambada_items(held_out, successors(train), random.Random(SEED))
    write_jsonl(tasks / "lambada_local.jsonl", lambada)
    hellaswag = hellaswag_items(held_out, late_lines(), random.Random(SEED))
    write_jsonl(tasks / "hellaswag_local.jsonl", hellaswag)
    print(f"lambada_local: {len(lambada)} items, hellaswag_local: {len(hellaswag)} items")


def prose(name: str) -> list[Record]:
    """Read the documents of one split that are written in sentences."""
    with lzma.open(DATA / name, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return [record for record in records if record["meta"]["pile_set_name"] in PROSE]


def late_lines() -> list[str]:
    """Return what is said in the last sessions of the DnD corpus."""
    with lzma.open(DATA / "dnd_sessions.jsonl.xz", "rt", encoding="utf-8") as lines:
        sessions = [json.loads(line) for line in lines][-LAST_SESSIONS:]
    return sorted({turn["text"] for session in sessions for turn in session["turns"]})


def successors(train: list[Record]) -> Successors:
    """Count which word follows each pair of words in the training split."""
    counts: Successors = defaultdict(Counter)
    for record in train:
        words = record["text"].split()
        for first, second, third in zip(words, words[1:], words[2:], strict=False):
            counts[first, second][bare(third)] += 1
    return counts


def lambada_items(held_out: list[Record], counts: Successors, rng: random.Random) -> list[Record]:
    """Draw passages whose last word is predictable from the words before it."""
    items = []
    for record in held_out:
        words = record["text"].split()
        at = CONTEXT_WORDS
        while at < len(words):
            context = words[at - CONTEXT_WORDS : at]
            if is_target(words[at]) and is_predictable(bare(words[at]), context, counts):
                domain = record["meta"]["pile_set_name"]
                target = bare(words[at])
                items.append({"context": " ".join(context), "target": target, "domain": domain})
                at += WORDS_BETWEEN_TARGETS
            at += 1
    return rng.sample(items, k=LAMBADA_ITEMS)


def is_target(word: str) -> bool:
    """Say whether a word, apart from one closing mark, is three letters or more."""
    return bare(word).isalpha() and len(bare(word)) >= 3 and len(word) - len(bare(word)) <= 1


def is_predictable(target: str, context: list[str], counts: Successors) -> bool:
    """Say whether training text often continues so, or the target is a name already mentioned."""
    followers = counts.get((context[-2], context[-1]), Counter())
    often = followers.total() >= SMALLEST_COUNT
    mentioned = target[0].isupper() and target in map(bare, context) and followers[target] > 0
    return mentioned or (often and followers[target] >= SMALLEST_SHARE * followers.total())


def bare(word: str) -> str:
    """Return a word without the marks that close it."""
    return re.sub(r"[^\w'-]+$", "", word)


def hellaswag_items(held_out: list[Record], late: list[str], rng: random.Random) -> list[Record]:
    """Give drawn passages four endings: their own, its words shuffled, any words, a DnD line."""
    every = [passage for record in held_out for passage in passages(record)]
    words = [word for record in held_out for word in record["text"].split()]
    items: list[Record] = []
    for passage in rng.sample(every, k=len(every)):
        own = passage.ending.split()
        lines = [line for line in late if alike(line, passage.ending)]
        shuffled = " ".join(rng.sample(own, k=len(own)))
        if lines and shuffled != passage.ending:
            drawn = " ".join(rng.choices(words, k=len(own)))
            wrong = {shuffled: "shuffled", drawn: "random", rng.choice(lines): "new"}
            items.append(item_of(passage, wrong, rng))
        if len(items) == HELLASWAG_ITEMS:
            break
    return items


def item_of(passage: Passage, wrong: dict[str, str], rng: random.Random) -> Record:
    """Put the right ending among the wrong ones; `kinds` names what each ending is."""
    kinds = wrong | {passage.ending: "right"}
    choices = rng.sample(list(kinds), k=len(kinds))
    return {
        "query": passage.query,
        "choices": choices,
        "label": choices.index(passage.ending),
        "kinds": [kinds[choice] for choice in choices],
        "domain": passage.domain,
    }


def passages(record: Record) -> list[Passage]:
    """Cut a document into passages of three sentences; the last one breaks after a third."""
    text = re.sub(r"\s+", " ", record["text"])
    sentences = [part.strip() for part in re.split(r"(?<=[.!?;])\s+", text)]
    found = []
    for first, second, third in zip(sentences[::3], sentences[1::3], sentences[2::3], strict=False):
        words = third.split()
        given = max(2, len(words) // 3)
        fits = all(len(part) in SENTENCE_CHARACTERS for part in (first, second, third))
        if fits and len(set(words[given:])) >= SHORTEST_ENDING:
            query = " ".join([first, second, *words[:given]])
            domain = record["meta"]["pile_set_name"]
            found.append(Passage(domain, query, " ".join(words[given:])))
    return found


def alike(wrong: str, right: str) -> bool:
    """Say whether two endings are about equally long."""
    return wrong != right and abs(len(wrong) - len(right)) <= LENGTH_TOLERANCE * len(right)


if __name__ == "__main__":
    main()
