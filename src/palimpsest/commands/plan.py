"""`palimpsest plan`: how much there is to compute."""

from __future__ import annotations

from palimpsest.commands.shared import PARAMS, JsonOption, ParamsOption, show


def plan(params: ParamsOption = PARAMS, as_json: JsonOption = False) -> None:
    """Show how much there is to compute: artifacts, batches, tokens, operations, bytes, hours.

    Example: palimpsest plan --params studies/smoke.yaml
    """
    from palimpsest.overview import costs_table, estimate

    show(estimate(params), as_json, costs_table)
