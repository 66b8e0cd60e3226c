"""A harmless change of code: keys stay, clones agree, nothing is computed again."""

import shutil
from pathlib import Path

import pytest
import yaml
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
    accept(planned, "fits")
    assert missing(planned()) == {}
    assert names(planned()) == names(before)


def test_clones_agree(source, tmp_path_factory, monkeypatch):
    stand_all(planned().plan)
    edit(source, "stages/fits.py")
    accept(planned, "fits")
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
    accept(planned, "bases")
    accept(planned, "train")
    assert missing(planned()) == {}


def with_a_chain() -> None:
    """Let the study be one run: a phase, one of another policy, and an edit."""
    content = yaml.safe_load(Path("params.yaml").read_text("utf-8"))
    phases = [
        {"policy": {"kind": "hold", "decrease": 0.01}},
        {"policy": {"kind": "fixed", "learning_rate": 1.0e-3}},
        {"kind": "interpolate", "alpha": 0.5},
    ]
    content["experiments"] = {"chain": {"model": "neox-6k", "phases": phases}}
    Path("params.yaml").write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")


def test_a_chain_of_phases_of_several_kinds_is_accepted_in_one_call(source):
    """Each phase reads the one before: its own code shows once that one's is accepted."""
    with_a_chain()
    before = planned()
    stand_all(before.plan)
    edit(source, "stages/train.py")
    assert missing(planned())["train"] == len(before.wanted("train")) == 3
    assert len(accept(planned, "train")) == 3
    assert missing(planned()) == {}
    assert names(planned()) == names(before)


def test_a_chain_that_nothing_here_matches_is_not_sent_to_itself(source):
    with_a_chain()
    stand_all(planned().plan)
    edit(source, "stages/train.py")
    for folder in (store.RUNS / "train").iterdir():
        shutil.rmtree(folder)
    with pytest.raises(Fault, match=r"^train: nothing here was made with the same params and data"):
        accept(planned, "train")


def test_a_fault_on_the_way_leaves_the_file_as_it_was(source):
    """Of the second phase two artifacts are here, made by different code."""
    with_a_chain()
    before = planned()
    stand_all(before.plan)
    second = list(before.wanted("train").values())[1]
    folder = store.artifact("train", second.name)
    twin = folder.with_name(f"{second.label}-0123456789")
    shutil.copytree(folder, twin)
    store.write_json(twin / store.META, store.read_json(twin / store.META) | {"code": "other"})
    (twin / store.FILES).unlink()
    store.list_files(twin)
    edit(source, "stages/train.py")
    ACCEPTED.parent.mkdir()
    ACCEPTED.write_text("fits: {}\n")
    with pytest.raises(Fault, match=r"^train: 2 older versions of its code made what is here"):
        accept(planned, "train")
    assert ACCEPTED.read_text() == "fits: {}\n"


def test_upstream_comes_first(source):
    stand_all(planned().plan)
    edit(source, "core/loop.py")
    with pytest.raises(Fault, match=r"^train: its inputs are missing too; accept bases first"):
        accept(planned, "train")
    assert not ACCEPTED.exists()


def test_a_second_change_is_accepted_onto_the_first_code(source):
    before = planned()
    stand_all(before.plan)
    edit(source, "stages/fits.py")
    accept(planned, "fits")
    edit(source, "stages/fits.py", "ANOTHER")
    accept(planned, "fits")
    assert names(planned()) == names(before)


def test_taken_back_it_asks_for_the_stage_again(source):
    stand_all(planned().plan)
    edit(source, "stages/fits.py")
    accept(planned, "fits")
    ACCEPTED.write_text("fits: {}\n")
    assert missing(planned()) == {"fits": 1, "report": 1}


def test_what_was_made_with_other_params_is_not_accepted(source):
    stand_all(planned().plan)
    text = Path("params.yaml").read_text("utf-8")
    Path("params.yaml").write_text(text.replace("bootstrap: 200", "bootstrap: 150"))
    with pytest.raises(Fault, match=r"^fits: nothing here was made with the same params and data"):
        accept(planned, "fits")


def test_nothing_to_accept(source):
    stand_all(planned().plan)
    with pytest.raises(Fault, match=r"^fits: nothing is missing, so there is nothing to accept"):
        accept(planned, "fits")


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
        accept(planned, "fits")
