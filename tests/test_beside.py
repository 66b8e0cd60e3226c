"""Question 8 beside its verdict: planted returns, neighbours and shifts; and none of them."""

from __future__ import annotations

import pandas as pd
from report_frames import frames, run

from palimpsest.core.answers.beside import beside
from palimpsest.core.plots.drawing import Drawing, Missing
from palimpsest.core.plots.repeats import repeats
from palimpsest.core.plots.shifts import shifts

SEEDS = (0, 1, 2)
COLUMNS = ["run", "round", "shift", "change_nats", "n_pairs"]


def cyclic() -> list[dict]:
    return [run(run=f"y{seed}", seed=seed, order="cyclic") for seed in SEEDS]


def returning(anticipation: tuple[float, float, float]) -> pd.DataFrame:
    rows = [
        {"run": f"y{seed}", "F_between": 0.3, "anticipation_nats": value, "recovery": 0.4}
        for seed, value in zip(SEEDS, anticipation, strict=True)
    ]
    return pd.DataFrame(rows)


def test_anticipation_has_an_interval_over_seeds() -> None:
    returns, _ = beside(frames(cyclic(), memory=returning((0.1, 0.2, 0.3))))
    ((setting, seeds, lost, ahead, recovered),) = returns.rows
    assert "cyclic order" in setting and seeds == "3"
    assert lost.startswith("+0.300")
    # 0.2 ± 4.303 · 0.1 / √3
    assert ahead == "+0.200 (−0.048 to 0.448)"
    assert recovered.startswith("40")


def test_neighbours_gain_by_their_distance_and_pairs_count() -> None:
    rows = [("m", True, 1, -0.4, 10), ("m", True, 2, -0.3, 1), ("m", True, 3, 0.0, 2)]
    rows += [("m", True, 8, 0.1, 5), ("m", False, 1, -0.2, 5)]
    columns = ["run", "again", "distance", "excess_nats", "n_pairs"]
    planted = pd.DataFrame(rows, columns=columns).assign(change_nats=0.0)
    found = beside(frames([run(run="m", n_phases=2)], neighbours=planted))[1]
    first, again = found.rows
    assert "2 phases" in again[0] and again[1] == "again" and first[1] == "for the first time"
    assert [cell.split(" ")[0] for cell in again[2:]] == ["−0.400", "−0.100", "+0.100"]
    assert [cell.split(" ")[0] for cell in first[2:]] == ["−0.200", "–", "–"]


def test_without_such_runs_both_say_why() -> None:
    for table in beside(frames([run()])):
        assert table.rows == () and table.absent.startswith("no ")


def test_the_shift_map_shows_rounds_and_one_run_of_a_setting() -> None:
    places = [(seed, number, at) for seed in SEEDS for number in (0, 1) for at in (-1, 0, 1)]
    rows = [(f"y{seed}", number, at, -0.1 * number + 0.01 * at, 3) for seed, number, at in places]
    planted = pd.DataFrame(rows, columns=COLUMNS)
    drawn = shifts(frames(cyclic(), shifts=planted))
    assert isinstance(drawn, Drawing)
    assert set(drawn.data.run) == {"y0"} and len(drawn.panels) == 1
    lines = drawn.panels[0].figure().axes[0].get_legend().get_texts()
    assert [line.get_text() for line in lines] == ["round 1", "round 2"]
    # last round: −0.1 − 0.01 and −0.1 + 0.01
    assert "−0.110, −0.090 nats" in drawn.panels[0].alt


def test_a_run_that_goes_round_once_without_a_control_is_not_drawn() -> None:
    planted = pd.DataFrame([("y0", 0, 1, 0.1, 3)], columns=COLUMNS)
    assert isinstance(shifts(frames(cyclic(), shifts=planted)), Missing)


def test_repeats_are_drawn_for_runs_that_take_several_with_their_control_beside() -> None:
    names = ("timed", "shuffled", "once")
    runs = [run(run=name, repeats=1 if name == "once" else 2) for name in names]
    rows = [
        (name, piece, 0, k, k, 0.1 * k - 0.15)
        for name in names
        for piece in (0, 1)
        for k in ((1,) if name == "once" else (1, 2))
    ]
    planted = pd.DataFrame(rows, columns=["run", "piece", "visit", "repeat", "n_seen", "F_after"])
    memory = pd.DataFrame({"run": names, "control_run": ["shuffled", "", ""]})
    drawn = repeats(frames(runs, repeats=planted, memory=memory))
    assert isinstance(drawn, Drawing) and len(drawn.panels) == 1
    assert set(drawn.data.run) == {"timed", "shuffled"}
    assert "−0.050 nats since the first, +0.050 since update 2" in drawn.panels[0].alt
    once = planted[planted.run == "once"]
    assert isinstance(repeats(frames(runs, repeats=once, memory=memory)), Missing)
