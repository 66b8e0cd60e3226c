import hashlib
import json
import lzma
import re
import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DATA = ROOT / "data"
MOST_BYTES = 4_000_000
SHINGLE = 8  # words


def records(name: str) -> list[dict[str, Any]]:
    opener = lzma.open if name.endswith(".xz") else open
    with opener(DATA / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def pile() -> dict[str, list[dict[str, Any]]]:
    return {split: records(f"mini_pile_{split}.jsonl.xz") for split in ("train", "held_out")}


@pytest.fixture(scope="module")
def sessions() -> list[dict[str, Any]]:
    return records("dnd_sessions.jsonl.xz")


def shingles(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return set(zip(*(words[start:] for start in range(SHINGLE)), strict=False))


def shipped() -> list[Path]:
    kinds = {".jsonl", ".xz", ".yaml"}
    found = [*DATA.glob("*"), *DATA.glob("tasks/*")]
    return sorted(path for path in found if path.suffix in kinds)


def test_manifest_names_every_shipped_file_with_its_sum() -> None:
    lines = (DATA / "SHA256SUMS").read_text().splitlines()
    stated = {name: digest for digest, name in (line.split("  ") for line in lines)}
    found = {str(path.relative_to(DATA)): path.read_bytes() for path in shipped()}
    assert stated == {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}


def test_shipped_files_stay_small() -> None:
    assert sum(path.stat().st_size for path in shipped()) < MOST_BYTES


def test_each_domain_is_on_both_sides(pile: dict[str, list[dict[str, Any]]]) -> None:
    domains = {
        split: {record["meta"]["pile_set_name"] for record in documents}
        for split, documents in pile.items()
    }
    assert len(domains["train"]) >= 6
    assert domains["train"] == domains["held_out"]


def test_no_document_comes_twice(pile: dict[str, list[dict[str, Any]]]) -> None:
    texts = Counter(record["text"] for documents in pile.values() for record in documents)
    assert texts.most_common(1)[0][1] == 1


def test_no_training_document_nearly_stands_in_the_held_out_split(
    pile: dict[str, list[dict[str, Any]]],
) -> None:
    held_out = set().union(*(shingles(record["text"]) for record in pile["held_out"]))
    for record in pile["train"]:
        own = shingles(record["text"])
        assert len(own & held_out) <= 0.15 * len(own), record["meta"]


def test_no_exercise_is_on_both_sides(pile: dict[str, list[dict[str, Any]]]) -> None:
    lines = {
        split: {
            line
            for record in documents
            if record["meta"]["pile_set_name"] == "maths"
            for line in record["text"].splitlines()
        }
        for split, documents in pile.items()
    }
    assert lines["held_out"] and not lines["train"] & lines["held_out"]


def test_sessions_are_numbered_in_order_and_long_enough(sessions: list[dict[str, Any]]) -> None:
    assert len(sessions) >= 24
    assert [session["episode"] for session in sessions] == [
        f"S01E{number:03d}" for number in range(1, len(sessions) + 1)
    ]
    for session in sessions:
        assert 45_000 < sum(len(turn["text"]) for turn in session["turns"]) < 60_000
        assert len({turn["speaker"] for turn in session["turns"]}) == 7  # DM, five players, a guest


def test_no_template_or_markup_is_left(sessions: list[dict[str, Any]]) -> None:
    texts = [turn["text"] for session in sessions for turn in session["turns"]]
    assert [text for text in texts if re.search(r"[{}\[\]@]|&\w+;|\s\s", text)] == []


def test_names_of_an_arc_stay_in_it_but_for_rare_memories(sessions: list[dict[str, Any]]) -> None:
    arcs = [yaml.safe_load(path.read_text()) for path in sorted(DATA.glob("build/world/0*.yaml"))]
    for arc in arcs:
        names = [arc["villain"]["name"], arc["faction"], *(p["name"] for p in arc["people"])]
        names += [place["name"] for place in arc["places"]]
        inside, outside = 0, 0
        for session in sessions:
            n_named = sum(any(n in turn["text"] for n in names) for turn in session["turns"])
            if session["title"].startswith(arc["title"]):
                inside += n_named
            else:
                outside += n_named
        assert inside > 300
        assert outside < 0.02 * inside


def test_later_sessions_recall_the_plot_of_the_one_before(sessions: list[dict[str, Any]]) -> None:
    arc = yaml.safe_load((DATA / "build/world/01_salt_bell.yaml").read_text())
    for number in range(1, arc["sessions"]):
        opening = sessions[number]["turns"][1]["text"]
        assert all(told in opening for told in arc["plot"][number - 1])


def test_questions_ask_what_only_the_sessions_tell(
    sessions: list[dict[str, Any]], pile: dict[str, list[dict[str, Any]]]
) -> None:
    told = " ".join(turn["text"] for session in sessions for turn in session["turns"]).lower()
    original = " ".join(record["text"] for record in pile["train"])
    questions = records("questions.jsonl")
    assert len(questions) == 10
    for question in questions:
        answer = question["answer"]
        assert 1 <= len(answer.split()) <= 4
        assert answer.lower() in told
        assert question["question"] not in original


def test_task_items_come_from_held_out_text(pile: dict[str, list[dict[str, Any]]]) -> None:
    held_out = "\n".join(" ".join(record["text"].split()) for record in pile["held_out"])
    lambada, hellaswag = (records(f"tasks/{name}_local.jsonl") for name in ("lambada", "hellaswag"))
    passages = [f"{item['context']} {item['target']}" for item in lambada]
    passages += [f"{item['query']} {item['choices'][item['label']]}" for item in hellaswag]
    assert len(lambada) == 500 and 300 <= len(hellaswag) <= 400
    for passage in passages:
        assert passage in held_out


def test_hellaswag_items_have_one_right_ending_at_any_place() -> None:
    items = records("tasks/hellaswag_local.jsonl")
    for item in items:
        assert sorted(item["kinds"]) == ["new", "random", "right", "shuffled"]
        assert item["kinds"][item["label"]] == "right"
        assert len(set(item["choices"])) == 4
    places = Counter(item["label"] for item in items)
    assert min(places.values()) > 0.15 * len(items)


def test_lm_eval_loads_the_tasks_from_the_project_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets
    from lm_eval.tasks import TaskManager

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.chdir(ROOT)
    manager = TaskManager(include_defaults=False, include_path="data/tasks")
    names = ["hellaswag_local", "lambada_local"]
    assert sorted(manager.all_tasks) == names
    loaded = manager.load(names)["tasks"]
    swag, lambada = loaded["hellaswag_local"], loaded["lambada_local"]
    first = next(iter(swag.validation_docs()))
    assert swag.doc_to_choice(first) == first["choices"]
    assert swag.doc_to_target(first) == first["label"]
    assert swag.config.metadata["chance"] == 0.25
    first = next(iter(lambada.test_docs()))
    assert lambada.doc_to_target(first) == " " + first["target"]
    assert lambada.config.metadata["chance"] == 0.0


def test_markup_of_the_rules_becomes_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DATA / "build"))
    import srd

    text = (
        "The [[lookup @name lowercase]]{monster} takes [[/damage 5d10 type=psychic]] damage and "
        "has the &amp;Reference[Charmed apply=false] condition for [[/r 1d4]] days."
    )
    assert srd.without_markup(text, monster="imp") == (
        "The imp takes 5d10 psychic damage and has the Charmed condition for 1d4 days."
    )
    assert srd.is_sentence("You can cast it again tomorrow.")
    assert not srd.is_sentence("The save DC is [[lookup @save.dc]] for all.")


def test_monsters_are_counted_in_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DATA / "build"))
    import table

    assert table.count_of(3, "swarm of bats") == "three swarms of bats"
    assert table.count_of(2, "winter wolf") == "two winter wolves"
    assert table.plural("harpy") == "harpies"
    assert table.sentence("a 18 hits. it falls.") == "An 18 hits. It falls."


def test_character_vectors_of_r_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DATA / "build"))
    import rdata

    def text(word: str) -> bytes:
        return struct.pack(">ii", 9, len(word)) + word.encode()

    def names_of(*words: str) -> bytes:
        """A pair list with one tag, the symbol `names`, and the end of the list."""
        tag = struct.pack(">i", 1) + text("names")
        listed = struct.pack(">ii", 16, len(words)) + b"".join(map(text, words))
        return struct.pack(">i", 0x400 | 2) + tag + listed + struct.pack(">i", 254)

    def named_list(item: bytes, name: str) -> bytes:
        return struct.pack(">ii", 0x200 | 19, 1) + item + names_of(name)

    header = b"X\n" + struct.pack(">iii", 2, 0x030600, 0x020300)
    words = header + struct.pack(">ii", 16, 2) + text("salt") + text("bell")
    packed = zlib.compress(words)
    store = b"...." + struct.pack(">i", len(words)) + packed
    place = struct.pack(">iiii", 13, 2, 4, 4 + len(packed))
    # The second `names` symbol of a real file is a reference; the reader meets the first kind here.
    index = zlib.compress(header + named_list(named_list(place, "novel"), "variables"))
    assert rdata.read_lazy_database(index, store) == {"novel": ["salt", "bell"]}
