from palimpsest.core.checkpoints import doublings, folder_name, log_spaced, steps_to_keep


def test_final_keeps_the_last_step_only() -> None:
    assert steps_to_keep({"kind": "final"}, 60) == (60,)


def test_log_spaced_steps_are_powers_of_the_sixth_root() -> None:
    assert log_spaced(n_steps=64, count=6) == (2, 4, 8, 16, 32, 64)
    assert steps_to_keep({"kind": "log", "count": 3}, 1000) == (10, 100, 1000)


def test_even_steps_divide_the_epoch() -> None:
    assert steps_to_keep({"kind": "even", "count": 4}, 60) == (15, 30, 45, 60)
    assert steps_to_keep({"kind": "even", "count": 4}, 10) == (2, 5, 8, 10)


def test_listed_steps_keep_their_place_and_the_last_is_added() -> None:
    settings = {"kind": "steps", "steps": [0, 7, 3, 99]}
    assert steps_to_keep(settings, 10) == (3, 7, 10)


def test_an_epoch_shorter_than_the_count_keeps_every_step_once() -> None:
    for kind in ("log", "even"):
        assert steps_to_keep({"kind": kind, "count": 50}, 3) == (1, 2, 3)


def test_an_epoch_without_steps_keeps_none() -> None:
    assert steps_to_keep({"kind": "even", "count": 3}, 0) == ()


def test_pretraining_keeps_halves_of_the_whole() -> None:
    assert doublings(n_steps=800, count=4) == (100, 200, 400, 800)
    assert doublings(n_steps=3, count=4) == (1, 3)


def test_names_sort_as_the_steps_do() -> None:
    assert folder_name(64) == "step-00000064"
    assert sorted(map(folder_name, (1000, 64, 7))) == [folder_name(s) for s in (7, 64, 1000)]
