"""Three runs of four steps on one base, worked on by hand: in time order, shuffled, pure replay."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from palimpsest.stages import tables

STREAM = {"kind": "chunks", "sequence_length": 8, "batch_tokens": 8, "repeats": 1}
POLICY = {"kind": "hold", "decrease": 0.05}
N_PIECES = 4


def entry(name: str, place: int, *, order: str = "time", replay: float = 0.5) -> dict[str, Any]:
    phase = {"stream": STREAM | {"order": order}, "policy": POLICY, "replay_fraction": replay}
    return {
        "run": name,
        "experiments": ["memory", "replay"] if name == "b-time" else ["replay"],
        "model": "tiny",
        "seed": 0,
        "asked_base_step": "final",
        "base": 0,
        "probe": 0,
        "trains": [place],
        "recall": place,
        "evals": place if name == "b-time" else None,
        "base_evals": 2 if name == "b-time" else None,
        "epoch_evals": [],
        "kept_evals": [3, 4] if name == "b-time" else [],
        "phase": phase | {"checkpoints": {"kind": "even", "count": place + 1}},
        "epochs": 1,
        "n_phases": 1,
        "earlier": [],
        "method": "plain",
        "method_strength": None,
        "label": "hold 5 %",
    }


SPEC = {
    "runs": [entry("b-time", 1), entry("a-shuffled", 0, order="shuffled"), entry("c", 2, replay=1)],
    "probes": [
        {"model": "tiny", "seed": 0, "replay_fraction": 0.5, "probe": 0, "usual": True}
        | {"stream": "chunks", "base_step": "final", "optimizer": "adamw", "warm_steps": 0}
    ],
}
ORDERS = {"a-shuffled": [3, 0, 1, 2], "b-time": [0, 1, 2, 3]}


def write_train(folder: Path) -> Path:
    folder.mkdir()
    log = pd.DataFrame(
        {
            "step": [1, 2, 3, 4],
            "epoch": 0,
            "learning_rate": [0.1, 0.2, 0.3, 0.4],
            "decrease_achieved": [0.05, 0.05, 0.05, 0.05],
            "update_norm": [1.0, 1.0, 2.0, 2.0],
            "sum_learning_rate": [0.1, 0.3, 0.6, 1.0],
            "mad_drift": [1e-3, 2e-3, 3e-3, 4e-3],
            "relative_drift": [0.01, 0.02, 0.03, 0.04],
            "edge_learning_rate": [0.15, np.nan, 0.25, np.nan],
            "share_correct": [0.1, np.nan, 0.7, np.nan],
            "n_new_tokens": [8, 16, 24, 32],
            "n_replay_tokens": [8, 16, 24, 32],
        }
    )
    log.to_parquet(folder / "log.parquet")
    phase = {"stop_reason": "epochs", "last_step": 4}
    (folder / "phase.json").write_text(json.dumps(phase))
    return folder


def write_recall(folder: Path, order: list[int] | None, *, end_original: float) -> Path:
    """Piece b costs 6 nats at θ₀, 4 just after its step, and b/4 more at the end (step 4)."""
    folder.mkdir()
    rows = [(0, b, 6.0, "checkpoint") for b in range(N_PIECES)]
    rows += [(4, b, 4.0 + b / 4, "checkpoint") for b in range(N_PIECES)]
    for place, piece in enumerate(order or []):
        rows += [(place, piece, 6.0, "before_first"), (place + 1, piece, 4.0, "after_last")]
    columns = ["checkpoint_step", "piece", "loss_nats", "measured"]
    recall = pd.DataFrame(rows, columns=columns).assign(repeat=0, n_tokens=8)
    recall.astype({"loss_nats": np.float32}).to_parquet(folder / "recall.parquet")
    seen = [1 + order.index(b) if order else -1 for b in range(N_PIECES)]
    pieces = pd.DataFrame({"piece": range(N_PIECES), "position": 0, "n_tokens": 8})
    pieces.assign(first_step=seen, last_step=seen).to_parquet(folder / "pieces.parquet")
    write_held_out(folder, end_original)
    drift = {"layer": 0, "group": "mlp", "n_weights": 10, "mad": 0.0, "relative_norm": 0.0}
    pd.DataFrame([{"checkpoint_step": 4} | drift]).to_parquet(folder / "drift.parquet")
    kl = [(c, corpus, c * 0.1) for c in (0, 4) for corpus in ("new", "original")]
    kl_frame = pd.DataFrame(kl, columns=["checkpoint_step", "corpus", "kl_nats"])
    kl_frame.to_parquet(folder / "kl.parquet")
    (folder / "recall.json").write_text(json.dumps({"base_step": 800}))
    return folder


def write_held_out(folder: Path, end_original: float) -> None:
    """Original: 3 nats on 10 tokens of books, 5 on 30 of code at θ₀, so 4.5 together."""
    rows = [
        (0, "new", "dnd", 5.0, 20),
        (4, "new", "dnd", 4.0, 20),
        (0, "original", "books", 3.0, 10),
        (0, "original", "code", 5.0, 30),
        (4, "original", "books", end_original, 10),
        (4, "original", "code", end_original, 30),
    ]
    columns = ["checkpoint_step", "corpus", "domain", "loss_nats", "n_tokens"]
    frame = pd.DataFrame(rows, columns=columns).assign(bits_per_byte=1.0)
    frame.to_parquet(folder / "held_out.parquet")


def write_base(folder: Path) -> Path:
    folder.mkdir()
    kept = [
        {"step": 400, "n_tokens": 4, "folder": "x"},
        {"step": 800, "n_tokens": 8, "folder": "y"},
    ]
    base = {"n_params": 25_000, "n_params_total": 157_000, "checkpoints": kept, "final": "y"}
    (folder / "base.json").write_text(json.dumps(base))
    return folder


def write_probe(folder: Path) -> Path:
    folder.mkdir()
    landscape = {"batch": [0], "measured_on": ["same"], "learning_rate": [1e-3], "loss_nats": [4.0]}
    pd.DataFrame(landscape).to_parquet(folder / "landscape.parquet")
    by_batch = {
        "batch": [0, 1],
        "target": "decrease",
        "decrease": 0.05,
        "learning_rate": [1e-3, np.nan],
    }
    pd.DataFrame(by_batch).to_parquet(folder / "rates.parquet")
    found = {"median": 1e-3, "q1": 9e-4, "q3": 2e-3, "n_found": 7, "n_batches": 8}
    probe = {"targets": {"0.05": found, "0.1": dict.fromkeys(found)}, "best": found, "edge": found}
    (folder / "probe.json").write_text(json.dumps(probe | {"largest_decrease": found}))
    return folder


def write_evals(folder: Path, n_right: int) -> Path:
    folder.mkdir()
    value = (np.arange(400) < n_right).astype(float)
    items = {"task": "choices", "metric": "acc", "item": np.arange(400), "value": value}
    pd.DataFrame(items).to_parquet(folder / "items.parquet")
    result = {"task": "choices", "metric": "acc", "value": n_right / 400, "stderr": 0.02}
    frame = pd.DataFrame([result | {"n_items": 400, "chance": 0.25}])
    frame.to_parquet(folder / "results.parquet")
    return folder


def write_kept(folder: Path, n_right: int, *, step: int) -> Path:
    write_evals(folder, n_right)
    (folder / "checkpoint.json").write_text(json.dumps({"step": step}))
    return folder


def write_not_kept(folder: Path) -> Path:
    """An epoch that kept fewer checkpoints than were asked for."""
    folder.mkdir()
    (folder / "checkpoint.json").write_text(json.dumps({"step": None}))
    return folder


def write_inputs(folder: Path) -> dict[str, list[Path]]:
    names = ["a-shuffled", "b-time", "c"]
    ends = {"a-shuffled": 4.8, "b-time": 4.7, "c": 4.4}
    return {
        "bases": [write_base(folder / "base")],
        "probes": [write_probe(folder / "probe")],
        "trains": [write_train(folder / f"train-{name}") for name in names],
        "recalls": [
            write_recall(folder / f"recall-{name}", ORDERS.get(name), end_original=ends[name])
            for name in names
        ],
        "evals": [
            *(write_evals(folder / f"evals-{i}", n) for i, n in enumerate([300, 200, 300])),
            write_kept(folder / "evals-kept", 260, step=2),
            write_not_kept(folder / "evals-not-kept"),
        ],
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    inputs, out = (tmp_path_factory.mktemp(name) for name in ("inputs", "tables"))
    tables.build(SPEC, write_inputs(inputs), out)
    return out


def test_runs_by_hand(built: Path) -> None:
    runs = pd.read_csv(built / "runs.csv")
    assert runs.run.tolist() == ["a-shuffled", "b-time", "c"]
    run = runs.set_index("run").loc["b-time"]
    assert (run.policy, run.policy_label, run.decrease_asked) == ("hold", "hold 5 %", 0.05)
    assert (run.n_steps, run.n_new_tokens, run.n_replay_tokens) == (4, 32, 32)
    assert run.learning_rate == 0.25
    assert run.learning_nats == 1.0
    assert run.loss_original_base_nats == 4.5
    assert run.forgetting_nats == pytest.approx(0.2)
    assert run.forgetting_against_control_nats == pytest.approx(0.2 - (4.4 - 4.5))
    assert run.forgetting_per_nat == pytest.approx(0.2)
    assert run.train_learning_nats == pytest.approx(6 - (4 + 4.25 + 4.5 + 4.75) / 4)
    assert run.sum_decrease == pytest.approx(0.2)
    assert run.sum_update_norm == 6
    assert run.share_correct == 0.7  # as last asked, at step 3
    assert run.share_beyond_edge == 0.5  # step 1 below its edge, step 3 above, others unmeasured
    assert run.bits_per_byte_new_base == run.bits_per_byte_original == pytest.approx(1)
    assert run.kl_original_nats == pytest.approx(0.4)


def test_memory_by_hand(built: Path) -> None:
    memory = pd.read_csv(built / "memory.csv").set_index("run")
    assert "c" not in memory.index  # pure replay saw no piece
    row = memory.loc["b-time"]
    assert row.control_run == "a-shuffled"
    assert row.spearman == pytest.approx(1)  # F_after 0, ¼, ½, ¾ in time order
    assert row.spearman_control == pytest.approx(-0.2)  # ¾, 0, ¼, ½ in its order: 1 − 6·12/60
    assert row.order_memory == pytest.approx(1.2)
    assert np.isnan(row.low) and row.n_pieces == 4
    assert pd.isna(memory.loc["a-shuffled"].control_run)


def test_memory_over_seeds_stands_beside_each_run(built: Path) -> None:
    memory = pd.read_csv(built / "memory.csv").set_index("run")
    assert memory.loc["b-time"].n_seeds == 1
    assert memory.loc["b-time"].seeds_order_memory == pytest.approx(1.2)
    assert np.isnan(memory.loc["b-time"].seeds_low)
    assert np.isnan(memory.loc["a-shuffled"].n_seeds) and memory.n_pieces_left_out.sum() == 0


def test_shifts_and_neighbours_by_hand(built: Path) -> None:
    shifts = pd.read_csv(built / "shifts.csv").query("run == 'a-shuffled'")
    assert shifts["shift"].tolist() == [0, 1, 2, 3]  # the end: 2 just now, 1, 0, and 3 long ago
    assert shifts.change_nats.tolist() == [-1.5, -1.75, -2.0, -1.25]
    assert pd.read_csv(built / "neighbours.csv").empty  # between the checkpoints, all were trained


def test_pieces_and_lag_by_hand(built: Path) -> None:
    pieces = pd.read_parquet(built / "pieces.parquet").query("run == 'b-time'")
    assert pieces.F_after.tolist() == [0, 0.25, 0.5, 0.75]
    assert pieces.F_before.tolist() == [-2, -1.75, -1.5, -1.25]
    lag = pd.read_parquet(built / "lag.parquet").query("run == 'b-time'")
    assert lag.lag_steps.tolist() == [3, 2, 1, 0]
    assert lag.lag_sum_learning_rate.tolist() == pytest.approx([0.9, 0.7, 0.4, 0])
    assert lag.lag_update_norm.tolist() == [5, 4, 2, 0]


def test_collapse_by_hand(built: Path) -> None:
    evals = pd.read_csv(built / "evals.csv").set_index("run")
    assert evals.loc["b-time"].collapse == pytest.approx(0.5)
    assert evals.loc["b-time"].verdict == "collapsed"
    base = evals.loc["base:tiny:s0"]
    assert base.verdict == "undefined" and np.isnan(base.collapse) and base.value == 0.75


def test_collapse_along_a_run_by_hand(built: Path) -> None:
    """Of 300 right answers 260 are left after step 2, and 200 at the end; 100 come by chance."""
    along = pd.read_csv(built / "evals_checkpoints.csv")
    assert along.run.tolist() == ["b-time", "b-time"]
    assert along.checkpoint_step.tolist() == [2, 4] and along.n_new_tokens.tolist() == [16, 32]
    assert along.collapse.tolist() == pytest.approx([40 / 200, 100 / 200])
    # Paired: 40 of 400 items differ by 1; of base − now − 0.2·base each lies 0.8, −0.2 or 0.
    lost = np.repeat([0.8, -0.2, 0.0], [40, 260, 100])
    error = lost.std(ddof=1) / np.sqrt(400) / 0.5
    assert along.collapse_stderr[0] == pytest.approx(error)
    final = pd.read_csv(built / "evals.csv").set_index("run").loc["b-time"]
    assert along.iloc[1][final.index].tolist() == final.tolist()


def test_the_end_of_an_epoch_without_updates_stands_once(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    again = SPEC["runs"][0] | {"epoch_evals": [[0, 0]], "kept_evals": []}  # both end at step 4
    (tmp_path / "out").mkdir()
    tables.build(SPEC | {"runs": [again, *SPEC["runs"][1:]]}, inputs, tmp_path / "out")
    along = pd.read_csv(tmp_path / "out" / "evals_checkpoints.csv")
    assert along.checkpoint_step.tolist() == [4] and along.value.tolist() == [200 / 400]


def test_without_evaluated_runs_the_table_has_its_header_alone(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    nothing = {"evals": None, "base_evals": None, "kept_evals": []}
    (tmp_path / "out").mkdir()
    runs = [one | nothing for one in SPEC["runs"]]
    tables.build(SPEC | {"runs": runs}, inputs, tmp_path / "out")
    along = pd.read_csv(tmp_path / "out" / "evals_checkpoints.csv")
    assert along.empty and {"checkpoint_step", "n_new_tokens", "verdict"} <= set(along.columns)


def test_bases_and_rates(built: Path) -> None:
    bases = pd.read_csv(built / "bases.csv")
    assert bases.step.tolist() == [400, 800] and bases.final.tolist() == [False, True]
    assert np.isnan(bases.loss_original_nats[0]) and bases.loss_original_nats[1] == 4.5
    rates = pd.read_csv(built / "rates.csv").set_index("target")
    assert rates.loc["best"].median_learning_rate == 1e-3
    assert rates.loc["best"].n_params == 25_000
    assert np.isnan(rates.loc["decrease"].median_learning_rate.iloc[1])
    assert rates.loc["largest_decrease"].decrease == 1e-3


def test_every_contract_column_is_there(built: Path) -> None:
    expected = {
        "experiments.csv": "experiment run",
        "steps.parquet": "run step learning_rate",
        "visits.parquet": "run piece visit F_before F_after anticipation_nats recovery",
        "kl.parquet": "run checkpoint_step corpus kl_nats",
        "held_out.parquet": "run checkpoint_step corpus domain loss_nats n_tokens bits_per_byte",
        "recall.parquet": "run checkpoint_step piece repeat loss_nats n_tokens measured",
        "drift.parquet": "run checkpoint_step layer group n_weights mad relative_norm",
        "landscape.parquet": "model n_params seed replay_fraction usual batch measured_on",
        "rates_by_batch.parquet": "model seed replay_fraction stream optimizer batch target",
        "memory.csv": "run control_run low high primacy_nats_low F_before_fifth_5",
    }
    for name, columns in expected.items():
        read = pd.read_csv if name.endswith("csv") else pd.read_parquet
        assert set(columns.split()) <= set(read(built / name).columns), name


def test_the_order_of_the_plan_does_not_matter(built: Path, tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    (tmp_path / "out").mkdir()
    tables.build(SPEC | {"runs": SPEC["runs"][::-1]}, inputs, tmp_path / "out")
    for file in built.iterdir():
        assert file.read_bytes() == (tmp_path / "out" / file.name).read_bytes(), file.name


def test_tables_load_no_torch() -> None:
    code = "import sys, palimpsest.stages.tables; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
