"""A harmless change of code: keys stay, clones agree, nothing is computed again."""

import shutil
from pathlib import Path

import pytest
from standing import missing, stand, stand_all

from palimpsest import sources, store
from palimpsest.accepting import accept
from palimpsest.faults import Fault
from palimpsest.plan import ACCEPTED, load
from palimpsest.schedule import Schedule


def planned() -> Schedule:
    sources.content_hash.cache_clear()
    return Schedule(load(Path("params.yaml")))


def edit(source: Path, file: str, name: str = "NEW_NAME") -> None:
    with (source / file).open("a") as opened:
        opened.write(f"\n{name} = 1\n")


def names(to_do: Schedule) -> dict[str, list[str]]:
    return {stage: sorted(to_do.wanted(stage)) for stage in to_do.order}


def test_accepted_code_keeps_every_key(source):
    before = planned()
    stand_all(before.plan)
    edit(source, "stages/fits.py")
    assert missing(planned()) == {"fits": 1, "report": 1}
    accept(planned(), "fits")
    assert missing(planned()) == {}
    assert names(planned()) == names(before)


def test_clones_agree(source, tmp_path_factory, monkeypatch):
    stand_all(planned().plan)
    edit(source, "stages/fits.py")
    accept(planned(), "fits")
    here = names(planned())
    clone = tmp_path_factory.mktemp("clone") / "clone"
    shutil.copytree(Path.cwd(), clone, symlinks=True, ignore=shutil.ignore_patterns("runs"))
    monkeypatch.chdir(clone)
    assert names(planned()) == here


def test_a_stage_with_several_kinds_of_code_is_accepted_whole(source):
    """Policies enter keys one by one: a change of the loop changes the code of each kind."""
    stand_all(planned().plan)
    edit(source, "core/loop.py")
    before = missing(planned())
    assert {"bases", "train"} <= set(before)
    accept(planned(), "bases")
    accept(planned(), "train")
    assert missing(planned()) == {}


def test_upstream_comes_first(source):
    stand_all(planned().plan)
    edit(source, "core/loop.py")
    with pytest.raises(Fault, match=r"^train: its inputs are missing too; accept bases first"):
        accept(planned(), "train")
    assert not ACCEPTED.exists()


def test_a_second_change_is_accepted_onto_the_first_code(source):
    before = planned()
    stand_all(before.plan)
    edit(source, "stages/fits.py")
    accept(planned(), "fits")
    edit(source, "stages/fits.py", "ANOTHER")
    accept(planned(), "fits")
    assert names(planned()) == names(before)


def test_taken_back_it_asks_for_the_stage_again(source):
    stand_all(planned().plan)
    edit(source, "stages/fits.py")
    accept(planned(), "fits")
    ACCEPTED.write_text("fits: {}\n")
    assert missing(planned()) == {"fits": 1, "report": 1}


def test_what_was_made_with_other_params_is_not_accepted(source):
    stand_all(planned().plan)
    text = Path("params.yaml").read_text("utf-8")
    Path("params.yaml").write_text(text.replace("bootstrap: 200", "bootstrap: 150"))
    with pytest.raises(Fault, match=r"^fits: nothing here was made with the same params and data"):
        accept(planned(), "fits")


def test_nothing_to_accept(source):
    stand_all(planned().plan)
    with pytest.raises(Fault, match=r"^fits: nothing is missing, so there is nothing to accept"):
        accept(planned(), "fits")


def test_of_two_older_codes_neither_is_guessed(source):
    """Both wait in the attic; only a person knows which of them the new code equals."""
    for name in ("ONE", "TWO"):
        stand(*planned().wanted("fits").values(), place=store.parked)
        edit(source, "stages/fits.py", name)
    stand_all(planned().plan)
    shutil.rmtree(store.RUNS / "fits")
    shutil.rmtree(store.RUNS / "report")
    edit(source, "stages/fits.py", "THREE")
    with pytest.raises(Fault, match=r"^fits: 2 older versions of its code made what is here"):
        accept(planned(), "fits")
