"""Turns a monster of the arc into a fight: rounds of attacks, spells and abilities, read aloud."""

from __future__ import annotations

from srd import Monster
from table import Player, Table, count_of

ROUNDS_AT_MOST = 6
CASTS = 0.7  # share of a caster's turns


def fight(table: Table) -> None:
    """Fight two to four monsters of the arc's family, in rounds, until they fall or flee."""
    monster: Monster = table.draw("monsters", table.handbook.monsters)
    name, count = monster.name.lower(), table.rng.randint(2, 4)
    place = table.pick("places")["name"]
    table.dm(table.line("ambush", count=count_of(count, name), place=place))
    for player in (table.player(), table.player()):
        table.say(player, table.line("initiative", player, roll=table.roll()))
    hit_points = monster.hit_points
    for _ in range(ROUNDS_AT_MOST):
        hit_points -= heroes_act(table, monster)
        if hit_points <= 0:
            break
        foe_acts(table, monster)
    player = table.player()
    table.dm(table.line("fall", foe=f"the {name}"))
    table.say(player, table.line("finish", player))
    table.events.append(f"you met {count_of(count, name)} in {place}")


def heroes_act(table: Table, monster: Monster) -> int:
    """Let two heroes act and return the damage done, in hit points."""
    damage = 0
    for _ in range(2):
        player = table.player()
        casts = player["class"] in table.campaign["casters"] and table.rng.random() < CASTS
        damage += cast(table, player, monster) if casts else strike(table, player, monster)
    return damage


def strike(table: Table, player: Player, monster: Monster) -> int:
    """Attack with a weapon; return the damage, 0 on a miss."""
    foe, level = f"the {monster.name.lower()}", table.arc["level"]
    slots = {"foe": foe, "weapon": player["weapon"]}
    roll = table.roll() + 4 + level // 2
    table.say(player, table.line("attack", player, roll=roll))
    if roll < monster.armor_class:
        table.dm(table.pick("misses").format(**slots))
        return 0
    damage = table.roll(8) + level + 3
    table.dm(table.pick("hits").format(**slots))
    table.say(player, table.line("damage", player, damage=damage))
    return damage


def cast(table: Table, player: Player, monster: Monster) -> int:
    """Cast one of the arc's spells, read a part of it aloud, return the damage."""
    spell = table.draw("spells", table.handbook.spells)
    table.say(player, table.line("cast", player, spell=spell.name))
    text = table.some(spell, 5)
    table.dm(text)
    if "damage" not in text:
        table.dm(table.line("spell_helps"))
        return 0
    damage = table.roll(6) + table.roll(6) + table.arc["level"]
    table.dm(table.line("spell_hurts", foe=f"the {monster.name.lower()}", damage=damage))
    return damage


def foe_acts(table: Table, monster: Monster) -> None:
    """Let the monster use one of its abilities, read aloud, against a hero."""
    player, name = table.player(), monster.name.lower()
    if monster.abilities:
        ability = table.draw(name, monster.abilities)
        read_aloud = table.some(ability, 2)
        table.dm(f"{table.line('foe_turn', foe=f'the {name}', ability=ability.name)} {read_aloud}")
    damage = table.roll(8) + table.arc["level"] // 2
    table.dm(table.line("foe_hits", player, damage=damage))
    table.say(player, table.line("hurt", player, left=table.roll(40)))
