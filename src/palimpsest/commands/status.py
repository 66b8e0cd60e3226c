"""`palimpsest status`: what is here, and why something would run."""

from __future__ import annotations

from palimpsest.commands.shared import PARAMS, JsonOption, ParamsOption, show


def status(params: ParamsOption = PARAMS, as_json: JsonOption = False) -> None:
    """Show what is present, missing and parked, and why something would run.

    Example: palimpsest status --json
    """
    from palimpsest.overview import stand, stand_table

    show(stand(params), as_json, stand_table)
