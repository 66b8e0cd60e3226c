"""The command line: registers the commands, turns a person's mistake into one line."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import typer

from palimpsest.faults import Fault, of_system

COMMANDS = {  # by the heading under which `palimpsest --help` shows them
    "The study": [
        "plan",
        "status",
        "run",
        "report",
        "show",
        "fit",
        "use",
    ],
    "Results": [
        "recommend",
    ],
    "Artifacts": [
        "verify",
        "prune",
        "restore",
        "accept",
    ],
    "Any model": [
        "probe",
    ],
    "This machine, or a cluster": [
        "doctor",
        "recover",
    ],
}
EPILOG = (
    "Exit codes: 0 done; 1 a job failed, something was found wrong, or the answer was no; "
    "2 a mistake in what was typed, in params.yaml or in the folder, told in one line. "
    "More in docs/guide/commands.md."
)

app = typer.Typer(
    help="How much does a language model forget when it is trained on new text?",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for heading, names in COMMANDS.items():
    for name in names:
        module = importlib.import_module(f"palimpsest.commands.{name}")
        settings = getattr(module, "SETTINGS", None)
        app.command(name, rich_help_panel=heading, context_settings=settings)(getattr(module, name))


def main() -> None:
    """Run the command line. A person's mistake is one line and exit code 2."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # a full disk or a closed pipe is told below, not at the exit
    except Fault as fault:
        _end(fault)
    except BrokenPipeError:  # `palimpsest status | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        told = of_system(error)
        if told is None:
            raise
        _end(told)


def _end(fault: Fault) -> None:
    print(f"error: {fault}", file=sys.stderr)
    sys.exit(2)


@app.callback()
def _beside_the_project() -> None:
    """Refuse to work on one tree with the code of another."""
    from palimpsest.schedule import use_source

    if Path("src/palimpsest").is_dir():
        use_source(str(Path("src").resolve()))


if __name__ == "__main__":
    main()
