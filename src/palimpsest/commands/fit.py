"""`palimpsest fit`: one law on any table of results, from this study or from elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palimpsest.faults import Fault

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

ENDS = ("value", "low", "high")


def fit(
    law: Annotated[str, typer.Argument(help="A law, such as chinchilla or replay-share.")],
    table: Annotated[Path, typer.Argument(help="CSV or Parquet, one row per measurement.")],
    columns: Annotated[
        str, typer.Option(help="The column of each symbol: N=n_params,D=n_tokens,L=loss.")
    ],
    where: Annotated[
        str, typer.Option(help='Keep the rows for which this holds: "loss < 4 and step > 0".')
    ] = "",
    run: Annotated[
        str, typer.Option(help="The column that tells runs apart: one setting's are replicates.")
    ] = "",
    cell: Annotated[
        str, typer.Option(help="With --run: the columns that make a setting, joined by commas.")
    ] = "",
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples behind the intervals.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of starts and resamples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Fit a scaling law to a table, by two routes, with intervals and held-out errors.

    Example: palimpsest fit chinchilla points.csv --columns N=n_params,D=n_tokens,L=loss
    """
    from rich.console import Console

    from palimpsest.core.laws import load
    from palimpsest.core.laws.table import fit_table

    load(law)  # a misspelt law is said before the table is read
    record = fit_table(
        kept(read(table), where),
        law,
        pairs(columns),
        n_draws=bootstrap,
        seed=seed,
        run=run or None,
        cell=[name.strip() for name in cell.split(",") if name],
    )
    if as_json:
        print(json.dumps(record, indent=1, sort_keys=True, allow_nan=False))
        return
    console = Console()
    for part in shown(record):
        console.print(part, highlight=False)


def pairs(text: str) -> dict[str, str]:
    """Return symbol → column; a column's name may hold spaces and commas."""
    found = {}
    for part in re.split(r",(?=\s*\w+\s*=)", text):
        symbol, equals, name = (piece.strip() for piece in part.partition("="))
        if not (symbol and equals and name):
            raise Fault(f"--columns: {part.strip()!r} is no pair; write symbol=column,…")
        if symbol in found:
            raise Fault(f"--columns: {symbol} is named twice")
        found[symbol] = name
    return found


def read(path: Path) -> pd.DataFrame:
    """Read a table; a Fault says in one line why it cannot be read."""
    import pandas as pd

    if not path.is_file():
        raise Fault(f"{path}: there is no such file")
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (ValueError, OSError) as error:  # pandas' and pyarrow's own faults are ValueErrors
        raise Fault(f"{path}: no table: {' '.join(str(error).split())}") from None


def kept(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return the rows for which a condition in the columns holds; all without one."""
    if not where:
        return frame
    try:
        return frame.query(where, local_dict={}, global_dict={})
    except (ValueError, TypeError, SyntaxError, NameError, KeyError, AttributeError) as error:
        why = " ".join(str(error).split())
        raise Fault(f"--where {where!r}: {why}; names with spaces stand in backticks") from None


def shown(record: dict[str, Any]) -> list[str | Table]:
    """Return what a person reads: the fit, its parameters, and the errors on unseen data."""
    starts, second = (record["routes"][route] for route in ("starts", "projection"))
    head = [
        f"{record['law']}: {record['formula']}",
        *record["notes"],
        f"objective {record['objective']:.7g} (Huber, δ = {record['delta']:g}), by "
        f"{starts['share_at_optimum']:.0%} of the starts; second route {second['objective']:.7g}; "
        f"condition {record['condition']:.2g}",
    ]
    return ["\n".join(head), parameter_table(record), held_out_table(record["held_out"])]


def parameter_table(record: dict[str, Any]) -> Table:
    """Draw the parameters with their intervals, and where they move with δ."""
    moves = record["delta_moves"]
    percent = f"{record['confidence']:.0%}"
    headings = ["", "value", f"low {percent}", f"high {percent}"]
    headings += [name.replace("delta x", "δ ×") for name in moves]
    table = columns_of(headings)
    for name, ends in record["parameters"].items():
        moved = [number(by_name[name]) for by_name in moves.values()]
        table.add_row(name, *(number(ends[end]) for end in ENDS), *moved)
    return table


def held_out_table(rows: list[dict[str, Any]]) -> Table:
    """Draw the errors on what was left out, the baselines beside the law."""
    table = columns_of(["left out", "form", "mean error", "worst", "of the range"])
    for row in rows:
        sizes = [number(row["error"]), number(row["worst"]), number(row["share_of_effect"])]
        table.add_row(row["split"], row["form"], *(sizes if not row["reason"] else [row["reason"]]))
    return table


def columns_of(headings: list[str]) -> Table:
    """Return an empty table, its first column of words and the others of numbers."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in headings:
        words = heading in ("", "left out", "form")
        table.add_column(heading, justify="left" if words else "right")
    return table


def number(value: float | None) -> str:
    """Write a number with five digits, a dash where there is none."""
    return "–" if value is None else f"{value:.5g}"
