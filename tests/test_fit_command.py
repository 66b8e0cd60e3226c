"""`palimpsest fit` on tables drawn from known laws, and what it says where there is no fit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from law_cases import BIG, grid, theta_of
from typer.testing import CliRunner

from palimpsest import cli
from palimpsest.core.laws import load
from palimpsest.core.laws.form import predict
from palimpsest.core.laws.table import fit_table
from palimpsest.faults import Fault

TRUTH = {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
COLUMNS = "N=n_params,D=n tokens, seen,L=loss"
NAMED = {"N": "n_params", "D": "n tokens, seen", "L": "loss"}


@pytest.fixture
def frame() -> pd.DataFrame:
    law = load("chinchilla")
    x = grid(N=BIG, D=(1e9, 3e9, 1e10, 3e10, 1e11))
    exact = predict(law, theta_of(law, TRUTH), x)[0]
    loss = exact * np.exp(0.002 * np.random.default_rng(0).standard_normal(len(exact)))
    return pd.DataFrame({"n_params": x["N"], "n tokens, seen": x["D"], "loss": loss})


@pytest.fixture
def table(frame: pd.DataFrame, tmp_path: Path) -> str:
    frame.to_csv(tmp_path / "points.csv", index=False)
    return str(tmp_path / "points.csv")


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, ["fit", *arguments], env={"COLUMNS": "200"})
    if isinstance(result.exception, Fault):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_json_holds_the_law_its_parameters_and_how_it_was_fitted(table: str) -> None:
    record = json.loads(
        shown("chinchilla", table, "--columns", COLUMNS, "--bootstrap", "200", "--json")
    )
    assert record["law"] == "chinchilla"
    assert set(record["parameters"]) == {"E", "A", "B", "alpha", "beta"}
    for name in ("E", "alpha", "beta"):
        found = record["parameters"][name]
        assert set(found) == {"value", "low", "high"}
        assert found["low"] < TRUTH[name] < found["high"]
        assert found["low"] < found["value"] < found["high"]
    assert (record["delta"], record["n_points"]) == (1e-3, 25)
    assert record["objective"] > 0
    assert record["routes"]["agree"]
    assert {row["form"] for row in record["held_out"]} == {"chinchilla", "log-linear", "constant"}
    error = {(row["split"], row["form"]): row["error"] for row in record["held_out"]}
    split = "largest N left out"
    assert error[split, "chinchilla"] < error[split, "log-linear"] < error[split, "constant"]


def test_a_person_sees_parameters_delta_and_the_baselines(table: str) -> None:
    text = shown("chinchilla", table, "--columns", COLUMNS, "--bootstrap", "100")
    for word in ("L = E + A/N^alpha + B/D^beta", "alpha", "δ × 0.1", "δ × 10", "log-linear"):
        assert word in text
    assert "25 points in 25 settings" in text


def test_rows_without_a_number_are_said(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.loc[3, "loss"] = np.nan
    frame.to_parquet(tmp_path / "points.parquet", index=False)
    arguments = ("chinchilla", str(tmp_path / "points.parquet"), "--columns", COLUMNS)
    text = shown(*arguments, "--bootstrap", "0")
    assert "24 points in 24 settings; 1 row without a number left out" in text
    assert "no bootstrap was asked for" in text


def test_where_keeps_rows(table: str) -> None:
    arguments = ("chinchilla", table, "--columns", COLUMNS, "--bootstrap", "0", "--json")
    record = json.loads(shown(*arguments, "--where", "n_params < 5e9 and `n tokens, seen` > 2e9"))
    assert record["n_points"] == 16


FAULTS = {
    "law": (["chinchila"], "laws: there is no law 'chinchila'; did you mean 'chinchilla'?"),
    "column": (
        ["chinchilla", "N=n_params,D=tokens,L=loss"],
        "columns: no column 'tokens'; the table has n_params, n tokens, seen, loss",
    ),
    "symbol missing": (
        ["chinchilla", "N=n_params,L=loss"],
        "columns: nothing stands for D; write D=<column>",
    ),
    "symbol unknown": (
        ["chinchilla", "N=n_params,T=loss,L=loss"],
        "columns: chinchilla has no symbol T; it has N, D, L",
    ),
    "no pair": (
        ["chinchilla", "n_params"],
        "--columns: 'n_params' is no pair; write symbol=column,…",
    ),
    "where": (
        ["chinchilla", COLUMNS, "--where", "lost < 3"],
        "--where 'lost < 3': name 'lost' is not defined; names with spaces stand in backticks",
    ),
    "too few": (
        ["chinchilla", COLUMNS, "--where", "n_params < 1e9"],
        "chinchilla: not fitted: needs 4 values of N, there are 2",
    ),
    "no rows": (
        ["chinchilla", COLUMNS, "--where", "n_params < 1"],
        "chinchilla: not fitted: no row has a number in every column",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_mistakes_are_one_line(table: str, name: str) -> None:
    (law, *rest), line = FAULTS[name]
    columns = rest.pop(0) if rest else COLUMNS
    with pytest.raises(Fault) as fault:
        shown(law, table, "--columns", columns, *rest)
    assert str(fault.value) == line


def test_what_the_data_leave_open_is_not_fitted() -> None:
    size = np.tile([1e8, 3e8, 1e9, 3e9, 1e10], 3)
    frame = pd.DataFrame({"n": size, "d": size * 20, "loss": 2 + 400 * size**-0.35})
    frame["d"] *= np.repeat([1.0, 1.0001, 1.0002], 5)  # tokens in step with size: one input
    with pytest.raises(Fault, match=r"^chinchilla: not fitted: "):
        fit_table(frame, "chinchilla", {"N": "n", "D": "d", "L": "loss"}, n_draws=0)


def test_tables_that_are_none_are_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "points.parquet"
    broken.write_text("no parquet")
    for path, words in ((broken, "no table: "), (tmp_path / "no.csv", "there is no such file")):
        with pytest.raises(Fault, match=words) as fault:
            shown("power", str(path), "--columns", "x=n,L=loss")
        assert "\n" not in str(fault.value)


def test_seeds_are_replicates_where_runs_are_named() -> None:
    """Runs of one setting along a clock: the setting is what does not change along the run."""
    rows: list[dict[str, Any]] = []
    random = np.random.default_rng(0)
    for ratio in (0.0, 0.25, 0.5, 0.75):
        for seed in range(3):
            kick = 0.01 * random.standard_normal()
            for t in (1.0, 2.0, 4.0):
                y = 1 + 0.3 * np.log(t) - 0.2 * np.log(ratio + 0.01) + kick
                rows.append({"run": f"{ratio}-{seed}", "ratio": ratio, "t": t, "y": y})
    record = fit_table(
        pd.DataFrame(rows), "log-linear", {"t": "t", "p": "ratio", "y": "y"}, run="run", n_draws=200
    )
    assert record["resampling"] == "seeds"
    slope = record["parameters"]["b_p"]
    assert slope["low"] < -0.2 < slope["high"]
    assert record["noise"] == pytest.approx(0.01, rel=0.5)


def test_a_mistake_typed_in_a_shell_ends_with_code_2(table: str) -> None:
    command = [
        sys.executable,
        "-m",
        "palimpsest.cli",
        "fit",
        "powre",
        table,
        "--columns",
        "x=a,L=b",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    line = "error: laws: there is no law 'powre'; did you mean 'power'?\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)
