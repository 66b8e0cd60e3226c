"""The command line: what a person types. Heavy imports wait until a command needs them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from palimpsest.commands.show import show
from palimpsest.faults import Fault

PARAMS = Path("params.yaml")
SLURM_PROFILE = Path("workflow/profiles/slurm")
ParamsOption = Annotated[
    Path, typer.Option("--params", help="Parameter file to read instead of params.yaml.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]

app = typer.Typer(
    help="How much does a language model forget when it is trained on new text?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console()


def main() -> None:
    """Run the command line. A person's mistake is one line and exit code 2."""
    try:
        app()
    except Fault as fault:
        print(f"error: {fault}", file=sys.stderr)
        sys.exit(2)


@app.callback()
def _beside_the_project() -> None:
    """Refuse to work on one tree with the code of another."""
    from palimpsest.schedule import use_source

    if Path("src/palimpsest").is_dir():
        use_source(str(Path("src").resolve()))


@app.command()
def run(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="Passed to snakemake, after `--`: targets, -n, --profile …"),
    ] = None,
) -> None:
    """Build what params.yaml asks for and record it in DVC.

    Example: palimpsest run -- stage_train
    """
    from palimpsest.entry import build_and_record

    sys.exit(build_and_record(arguments or []))


@app.command()
def plan(params: ParamsOption = PARAMS, as_json: JsonOption = False) -> None:
    """Show how much there is to compute: artifacts, batches, tokens, operations, bytes, hours.

    Example: palimpsest plan --params studies/smoke.yaml
    """
    from palimpsest.overview import costs_table, estimate

    totals = estimate(params)
    _show(totals, as_json, costs_table)


@app.command()
def status(params: ParamsOption = PARAMS, as_json: JsonOption = False) -> None:
    """Show what is present, missing and parked, and why something would run.

    Example: palimpsest status --json
    """
    from palimpsest.overview import stand, stand_table

    _show(stand(params), as_json, stand_table)


@app.command()
def use(
    study: Annotated[str, typer.Argument(help="A name from studies/, `default`, or a path.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Make a study the params.yaml, after showing the difference.

    Example: palimpsest use smoke
    """
    from palimpsest.entry import difference, replace_params, study_file

    source = study_file(study)
    lines = difference(source)
    if not lines:
        console.print(f"params.yaml already is {source}")
        return
    for line in lines:
        style = {"+": "green", "-": "red"}.get(line[:1], "")
        console.print(line, style=style, markup=False, highlight=False)
    if not yes and sys.stdin.isatty() and not typer.confirm(f"Make {source} the params.yaml?"):
        raise typer.Exit(1)
    replace_params(source)
    console.print(f"params.yaml is now {source}; nothing that was computed is lost")


@app.command()
def recover(
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Passed to snakemake, after `--`.")
    ] = None,
    profile: Annotated[
        Path, typer.Option(help="Snakemake profile of the cluster.")
    ] = SLURM_PROFILE,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel running jobs too; they resume later.")
    ] = False,
) -> None:
    """Go on after the controlling process on a cluster was killed: wait for its jobs, then run.

    Example: palimpsest recover
    """
    from palimpsest.entry import recover

    sys.exit(recover(profile, arguments or [], cancel=cancel))


@app.command()
def doctor(
    slurm: Annotated[
        bool, typer.Option("--slurm", help="Check a SLURM site and the profile for it.")
    ] = False,
    profile: Annotated[
        Path, typer.Option(help="Snakemake profile of the cluster.")
    ] = SLURM_PROFILE,
    as_json: JsonOption = False,
) -> None:
    """Check what this machine offers. Exit code 1 if something would not work.

    Example: palimpsest doctor --slurm
    """
    from palimpsest.site import ERROR, check_site, table

    checks = [vars(check) for check in check_site(profile)] if slurm else []
    _show(checks, as_json, table)
    sys.exit(any(check["state"] == ERROR for check in checks))


app.command()(show)


def _show(content: Any, as_json: bool, table: Any) -> None:
    if as_json:
        print(json.dumps(content, indent=1, sort_keys=True))
    else:
        console.print(table(content))


if __name__ == "__main__":
    main()
