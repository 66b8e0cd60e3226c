"""The trial of a shared folder: on one that keeps its promises, and what others would show."""

import threading
from dataclasses import asdict

import pytest

from palimpsest import trial
from palimpsest.site import judge_folder
from palimpsest.store import read_json

GOOD = {"host": "n1", "skew_seconds": 0.0, "renamed": [True, False], "locked": [True, False]}
OTHER = {"host": "n2", "skew_seconds": 0.1, "renamed": [False, True], "locked": [False, True]}


def states(a: dict, b: dict) -> dict[str, str]:
    found = judge_folder(trial.judge(a, b), "n1 and n2")
    return {check["name"].partition(": ")[2]: check["state"] for check in map(asdict, found)}


def test_two_parts_on_this_disk_agree_who_was_first(tmp_path, monkeypatch):
    quick = {"SECONDS_TO_START": 0.2, "SECONDS_PER_RENAME": 0.02, "SECONDS_PER_LOCK": 0.3}
    for name, value in (quick | {"MOST_SKEW_SECONDS": 0.1, "N_RENAMES": 10, "N_LOCKS": 2}).items():
        monkeypatch.setattr(trial, name, value)
    parts = [threading.Thread(target=trial.main, args=(tmp_path, role)) for role in trial.ROLES]
    for part in parts:
        part.start()
    for part in parts:
        part.join()
    seen = trial.judge(*(read_json(tmp_path / f"{role}.json") for role in trial.ROLES))
    assert seen["n_renamed_once"] == seen["n_renames"] == 10
    assert seen["n_locked_once"] == seen["n_locks"] == 2
    assert len(list(tmp_path.glob("wanted-*"))) == 10
    assert seen["skew_seconds"] < 0.1


def test_a_folder_that_keeps_its_promises():
    assert states(GOOD, OTHER) == {"rename": "ok", "locks": "ok"}


@pytest.mark.parametrize("renamed", [[True, True], [False, False]])
def test_a_rename_that_succeeds_twice_or_never_is_an_error(renamed):
    assert states(GOOD, OTHER | {"renamed": renamed})["rename"] == "error"


@pytest.mark.parametrize(
    "locked", [[True, True], ["no locks available"] * 2], ids=["on each node", "nowhere"]
)
def test_locks_that_do_not_reach_across_nodes_are_a_warning(locked):
    assert states(GOOD, OTHER | {"locked": locked})["locks"] == "warning"


def test_clocks_that_differ_decide_nothing():
    assert states(GOOD, OTHER | {"skew_seconds": 2.0})["locks"] == "warning"
