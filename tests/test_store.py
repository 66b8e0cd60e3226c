"""An artifact is complete or absent: commit, attic, resume, index."""

import os

import pytest

from palimpsest import store
from palimpsest.faults import Fault

STAGE, NAME = "train", "x-0123"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def attempt(content: str = "1", name: str = NAME) -> store.Path:
    """Return a finished scratch folder."""
    scratch = store.new_attempt(STAGE, name)
    (scratch / "deep").mkdir()
    (scratch / "deep" / "number").write_text(content)
    (scratch / store.META).write_text("{}")
    return scratch


def built(content: str = "1", name: str = NAME) -> store.Path:
    assert store.commit(STAGE, name, attempt(content, name))
    return store.artifact(STAGE, name)


def number(folder: store.Path) -> str:
    return (folder / "deep" / "number").read_text()


# Commit


def test_a_commit_puts_the_whole_folder_in_place_and_clears_the_scratch():
    folder = built()
    assert number(folder) == "1"
    assert not (store.SCRATCH / STAGE / NAME).exists()


def test_the_first_commit_stands_and_the_loser_discards():
    first, second = attempt("first"), attempt("second")
    assert store.commit(STAGE, NAME, first)
    second.mkdir(parents=True, exist_ok=True)  # the winner cleared it; a slow loser still writes
    (second / "late").write_text("")
    assert not store.commit(STAGE, NAME, second)
    assert number(store.artifact(STAGE, NAME)) == "first"
    assert not (store.artifact(STAGE, NAME) / "late").exists()
    assert not second.exists()


def test_an_attempt_that_never_committed_is_no_artifact():
    attempt()
    assert store.folders(STAGE) == set()
    with pytest.raises(Fault, match=rf"^runs/{STAGE}/{NAME}: missing input"):
        store.find(STAGE, NAME)


def test_a_commit_whose_scratch_is_gone_fails_and_leaves_nothing():
    scratch = attempt()
    scratch.rename(scratch.with_name("elsewhere"))
    with pytest.raises(OSError, match="No such file"):
        store.commit(STAGE, NAME, scratch)
    assert store.folders(STAGE) == set()


# Resume


def test_a_new_attempt_adopts_the_newest_state_of_any_attempt():
    old, newer = store.new_attempt(STAGE, NAME), store.new_attempt(STAGE, NAME)
    for seconds, (folder, state) in enumerate([(newer, "newer"), (old, "old")], start=1):
        (folder / "resume.pt").write_text(state)
        os.utime(folder / "resume.pt", (1000 - seconds, 1000 - seconds))
    assert (store.new_attempt(STAGE, NAME) / "resume.pt").read_text() == "newer"


def test_a_replaced_state_leaves_that_of_the_earlier_attempt_alone():
    dead = store.new_attempt(STAGE, NAME)
    (dead / "resume.pt").write_text("step 10")
    alive = store.new_attempt(STAGE, NAME)
    (alive / "fresh").write_text("step 20")
    (alive / "fresh").replace(alive / "resume.pt")
    assert (dead / "resume.pt").read_text() == "step 10"


def test_states_of_other_artifacts_are_not_adopted():
    (store.new_attempt(STAGE, "y-4567") / "resume.pt").write_text("other")
    assert list(store.new_attempt(STAGE, NAME).iterdir()) == []


def test_attempts_have_folders_of_their_own():
    assert store.new_attempt(STAGE, NAME) != store.new_attempt(STAGE, NAME)


# Index and attic


def test_the_index_parks_what_it_does_not_name_and_takes_back_what_it_names():
    built("1", "a-1")
    built("2", "b-2")
    store.shelve(STAGE, "k1", ["a-1"])
    assert not store.artifact(STAGE, "b-2").exists()
    assert number(store.parked(STAGE, "b-2")) == "2"
    store.shelve(STAGE, "k2", ["b-2"])
    assert number(store.artifact(STAGE, "b-2")) == "2"
    assert sorted(p.name for p in (store.RUNS / STAGE).iterdir()) == ["b-2", "index-k2.json"]
    assert store.read_json(store.index(STAGE, "k2")) == ["b-2"]


def test_what_waits_in_the_attic_counts_and_is_found():
    built()
    store.shelve(STAGE, "k", [])
    assert store.folders(STAGE) == {NAME}
    assert store.find(STAGE, NAME) == store.parked(STAGE, NAME)
    assert store.restore(STAGE, NAME)
    assert store.find(STAGE, NAME) == store.artifact(STAGE, NAME)


def test_nothing_to_restore():
    assert not store.restore(STAGE, NAME)
    assert not store.artifact(STAGE, NAME).exists()


def test_an_index_that_names_what_is_nowhere_parks_nothing():
    built("1", "a-1")
    with pytest.raises(Fault, match=r"^runs/train/b-2: its batch is done, yet it is missing"):
        store.shelve(STAGE, "k", ["b-2"])
    assert store.artifact(STAGE, "a-1").is_dir()
    assert not store.index(STAGE, "k").exists()


def test_a_twin_in_the_attic_is_kept_once():
    built()
    store.shelve(STAGE, "k", [])
    built()
    store.shelve(STAGE, "k", [])
    assert [p.name for p in (store.ATTIC / STAGE).iterdir()] == [NAME]
    assert number(store.parked(STAGE, NAME)) == "1"


def test_files_that_are_no_artifacts_are_removed_with_the_old_index():
    built()
    store.write_json(store.index(STAGE, "old"), [])
    store.shelve(STAGE, "new", [NAME])
    assert not store.index(STAGE, "old").exists()


# Half of an artifact, as a killed `dvc pull` leaves it


def halve(folder: store.Path) -> None:
    (folder / "deep" / "number").unlink()


def cut_short(folder: store.Path) -> None:
    (folder / "deep" / "number").write_text("")


@pytest.mark.parametrize("harm", [halve, cut_short])
def test_half_an_artifact_does_not_count(harm):
    harm(built())
    assert store.folders(STAGE) == set()
    with pytest.raises(Fault, match="missing input"):
        store.find(STAGE, NAME)
    assert not store.restore(STAGE, NAME)


def test_half_an_artifact_makes_way_for_the_one_in_the_attic():
    built()
    store.shelve(STAGE, "k", [])
    halve(built("half"))
    assert store.folders(STAGE) == {NAME}
    assert store.restore(STAGE, NAME)
    assert number(store.artifact(STAGE, NAME)) == "1"


def test_half_an_artifact_never_enters_the_attic():
    halve(built())
    store.shelve(STAGE, "k", [])
    assert not store.parked(STAGE, NAME).exists()
    assert not store.artifact(STAGE, NAME).exists()


def test_a_whole_artifact_replaces_half_of_one_in_the_attic():
    built()
    store.shelve(STAGE, "k", [])
    halve(store.parked(STAGE, NAME))
    built("whole")
    store.shelve(STAGE, "k", [])
    assert store.restore(STAGE, NAME)
    assert number(store.artifact(STAGE, NAME)) == "whole"


# Files


def test_a_file_is_replaced_never_written_into(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("cached")
    os.link(file, link)
    store.write_text(file, "new")
    assert (file.read_text(), link.read_text()) == ("new", "cached")


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    file = tmp_path / "file.json"
    store.write_json(file, {"a": 1})
    with pytest.raises(TypeError):
        store.write_json(file, {"a": object()})
    assert store.read_json(file) == {"a": 1}


def test_json_has_one_form(tmp_path):
    store.write_json(tmp_path / "a", {"b": 1, "a": [2]})
    assert (tmp_path / "a").read_text() == '{\n "a": [\n  2\n ],\n "b": 1\n}\n'


def test_the_ledger_grows_by_one_line():
    store.enter_ledger({"name": "a"})
    store.enter_ledger({"name": "b"})
    assert store.LEDGER.read_text() == '{"name": "a"}\n{"name": "b"}\n'


def test_the_hash_of_a_file(tmp_path):
    (tmp_path / "empty").touch()
    assert store.sha256(tmp_path / "empty").startswith("e3b0c44298fc1c14")
