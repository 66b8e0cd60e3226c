"""Turns a table's state into dialogue: one function per kind of scene, each adds turns."""

from __future__ import annotations

from table import Table

JOKES = 0.3  # share of journeys and camps on which one of the arc's few jokes is told
TALES_OF_OLD = 0.12  # share of camps at which an earlier arc is named: about once in two sessions


def opening(table: Table, *, number: int, part: int, recap: list[str]) -> None:
    """Open a session: a new arc is introduced, an old one is recapitulated."""
    arc = table.arc
    table.dm(table.line("open", number=number, part=part, title=arc["title"]))
    if part == 1:
        introduce(table)
        return
    table.dm(" ".join([table.line("recap"), *recap]))
    for event in table.rng.sample(table.events, k=min(3, len(table.events))):
        table.dm(table.line("also", event=event))
    player = table.player()
    table.say(player, table.line("remember", player))
    table.dm(table.pick("facts"))
    table.events.clear()


def introduce(table: Table) -> None:
    """Introduce the arc: region, first place, quest object and the guest at the table."""
    arc, guest = table.arc, table.arc["guest"]
    table.dm(table.line("open_arc", title=arc["title"], level=arc["level"]))
    table.dm(f"{arc['places'][0]['name']}. {arc['places'][0]['look']} {table.pick('weather')}")
    hello = {"speaker": guest["speaker"], "class": guest["class"]}
    table.dm(table.line("guest", guest, **hello))
    table.say(guest, table.line("guest_hello", guest))
    table.dm(f"And everybody here talks about {arc['object']['name']}, {arc['object']['look']}.")


def closing(table: Table) -> None:
    """Close a session on the last thing that happened."""
    table.dm(table.line("close"))
    for _ in range(table.rng.randint(2, 3)):
        player = table.player()
        table.say(player, table.line("close_reply", player))


def beat(table: Table, told: str) -> None:
    """Let the story advance by one sentence of the arc's plot and the table talk about it."""
    place = table.pick("places")
    table.dm(f"{table.line('arrive', place=place['name'])} {place['look']}")
    table.dm(f"{table.line('beat')} {told}")
    player = table.player()
    table.say(player, table.pick("slang"))
    for _ in range(table.rng.randint(1, 3)):
        player = table.player()
        table.say(player, table.line("plan", player))
        table.say(table.player(), table.line("agree"))
    if table.arc["villain"]["name"] in told:
        table.dm(table.threat())
        table.say(player, table.line("defy", player))


def parley(table: Table) -> None:
    """Talk to one of the arc's people, who has a catch-phrase and a rumour."""
    person = table.pick("people")
    place = table.pick("places")["name"]
    table.dm(table.line("meet", person=person["name"], role=person["role"], place=place))
    for words in table.rng.sample(person["says"], k=table.rng.randint(1, 3)):
        player = table.player()
        table.say(player, table.line("ask", player))
        table.dm(table.line("says", player, words=words, person=person["name"]))
    ability_check(table)
    fact = table.pick("facts")
    table.dm(table.line("rumour", fact=fact))
    table.events.append(f"{person['name']} told you in {place}: {fact[:-1]}")


def ability_check(table: Table) -> None:
    """Let a player roll and the dungeon master judge the roll."""
    player, roll = table.player(), table.roll()
    table.say(player, table.line("check", player, roll=roll))
    verdict = "low" if roll < 8 else "middle" if roll < 15 else "high"
    table.dm(table.line(verdict, roll=roll))


def travel(table: Table) -> None:
    """Go to another place of the arc: weather, a passer-by, banter."""
    place = table.pick("places")
    days = table.rng.randint(2, 6)
    table.dm(f"{table.line('walk', place=place['name'], days=days)} {table.pick('weather')}")
    table.dm(table.line("minor"))
    banter(table)
    table.dm(f"{table.line('arrive', place=place['name'])} {place['look']}")


def banter(table: Table) -> None:
    """Play, now and then, one of the arc's running jokes between two players."""
    if table.rng.random() > JOKES:
        return
    joke, first, second = table.pick("banter"), table.player(), table.player()
    for number, words in enumerate(joke):
        table.say(first if number % 2 == 0 else second, words)


def find(table: Table) -> None:
    """Search a place and find one of the arc's items, whose text is read aloud."""
    player, item = table.player(), table.draw("items", table.handbook.items)
    place = table.pick("places")["name"]
    table.say(player, table.line("search", player))
    table.dm(table.line("found", item=item.name))
    table.say(player, table.line("use", player))
    table.dm(table.some(item, 6))
    table.say(table.player(), table.line("keep"))
    table.events.append(f"you found {item.name} in {place}")


def shop(table: Table) -> None:
    """Haggle for the arc's goods, and hear what the thing under the counter does."""
    player, item = table.player(), table.draw("items", table.handbook.items)
    goods, other = table.rng.sample(table.arc["goods"], k=2)
    price = table.rng.randint(6, 90)
    slots: dict[str, object] = {
        "goods": goods,
        "goods2": other,
        "price": price,
        "less": price * 2 // 3,
    }
    slots |= {"name": table.draw("names", table.names), "item": item.name}
    table.dm(table.line("sells", **slots))
    for key in ("price", "haggle"):
        table.say(player, table.line(key, player, **slots))
        table.dm(table.line("offer" if key == "price" else "deal", **slots))
    table.say(table.player(), f"And {item.name}?")
    table.dm(table.some(item, 3))


def camp(table: Table) -> None:
    """Rest, eat, perhaps dream of the villain or speak of the days before this arc."""
    player = table.player()
    table.say(player, table.line("rest", player))
    table.dm(f"{table.line('night')} {table.pick('weather')}")
    if table.earlier and table.rng.random() < TALES_OF_OLD:
        old = table.rng.choice(table.earlier)
        slots = {"old_place": old["places"][0]["name"], "old_villain": old["villain"]["name"]}
        table.say(table.player(), table.line("old_days", **slots))
    banter(table)
    table.dm(f"{table.line('dream', player)} {table.threat()}")
    table.say(player, table.pick("slang"))


def rules(table: Table) -> None:
    """Ask for a rule and hear it."""
    player, feature = table.player(), table.draw("features", table.handbook.features)
    table.say(player, table.line("rule", player, feature=feature.name))
    table.dm(table.some(feature, 6))
    table.say(player, table.line("rule_reply"))


def lore(table: Table) -> None:
    """Read two facts of the arc from a wall or a page."""
    first, second = table.rng.sample(table.arc["facts"], k=2)
    table.dm(f"{table.line('reads')} {first} {second}")
    player = table.player()
    table.say(player, table.line("ask", player))
    ability_check(table)


def tale(table: Table) -> None:
    """Hear a tale of the session's minor names, with the arc's places and things in it."""
    name, other = table.draw("names", table.names), table.draw("names", table.names)
    slots: dict[str, object] = {"name": name, "name2": other, "goods2": table.pick("goods")}
    slots |= {"place": table.pick("places")["name"], "place2": table.pick("places")["name"]}
    slots |= {"number": table.roll(99), "days": table.roll(9), "goods": table.pick("goods")}
    for key in ("tale_begins", "tale_goes_on", "tale_ends"):
        player = table.player()
        table.dm(table.line(key, player, **slots))
        table.say(player, table.line("tale_reply", player, **slots))


def new_secrets(table: Table) -> None:
    """Hide some of the arc's goods: who, what, where is the same all through one session."""
    table.secrets = [
        {
            "name": table.draw("names", table.names),
            "goods": table.pick("goods"),
            "place": table.pick("places")["name"],
            "number": table.rng.randint(4, 19),
        }
        for _ in range(table.campaign["secrets_per_session"])
    ]


def secret(table: Table) -> None:
    """Ask for one of the session's secrets and hear it once more."""
    player, hidden = table.player(), table.rng.choice(table.secrets)
    table.say(player, table.line("secret_asked", player, **hidden))
    table.dm(table.line("secret_told", **hidden))
    table.say(table.player(), table.line("secret_used", **hidden))


def message(table: Table) -> None:
    """Hear from the villain and answer back."""
    table.dm(f"{table.line('message')} {table.threat()}")
    for _ in range(2):
        player = table.player()
        table.say(player, table.line("defy", player))


def puzzle(table: Table, riddle: dict[str, str]) -> None:
    """Solve a riddle at the second attempt."""
    first, second = table.player(), table.player()
    table.dm(table.line("riddle", text=riddle["text"]))
    table.say(first, riddle["wrong"])
    hint = table.line("hint", first, damage=table.roll(6))
    table.dm(table.line("wrong", hint=hint))
    table.say(table.player(), table.line("ask"))
    ability_check(table)
    table.say(second, riddle["answer"])
    table.dm(table.line("right", reward=riddle["reward"]))
    table.say(first, table.pick("slang"))
