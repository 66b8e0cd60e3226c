"""`palimpsest probe`: which learning rates a model takes on a text, no study needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from palimpsest.commands.shared import JsonOption, show

DECREASES = [0.01, 0.05, 0.1]


def probe(
    model: Annotated[Path, typer.Option(help="Folder of a Hugging Face causal LM.")],
    text: Annotated[Path, typer.Option(help="New text: plain, or .jsonl; .gz and .xz too.")],
    replay_text: Annotated[
        Path | None,
        typer.Option(help="Original text: what does the same step do to it? Its end measures."),
    ] = None,
    replay: Annotated[float, typer.Option(help="Share of each batch from the replay text.")] = 0.0,
    decrease: Annotated[
        list[float], typer.Option(help="Asked one-step decrease; repeatable, negative: a rise.")
    ] = DECREASES,
    optimizer: Annotated[str, typer.Option(help="adamw or sgd (momentum 0.9).")] = "adamw",
    batches: Annotated[int, typer.Option(min=1, help="Batches behind the quartiles.")] = 8,
    batch_tokens: Annotated[int, typer.Option(min=2, help="New tokens per batch.")] = 512,
    sequence_length: Annotated[int, typer.Option(min=2, help="Tokens per row.")] = 128,
    warm_steps: Annotated[int, typer.Option(min=0, help="Updates that warm the moments.")] = 0,
    lowest: Annotated[float | None, typer.Option(help="Lowest rate of the landscape.")] = None,
    highest: Annotated[float | None, typer.Option(help="Highest rate of all searches.")] = None,
    points: Annotated[int, typer.Option(min=2, help="Rates of the landscape.")] = 13,
    seed: Annotated[int, typer.Option(min=0, help="Offset of the cut, draw of the replay.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Write a figure: .png, .svg, .pdf.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show which learning rates lower a model's loss on a text, and from where on a step raises it.

    Example: palimpsest probe --model runs/bases/neox-25k_s0-…/step-00000500 --text notes.txt
    """
    from palimpsest import quick_probe

    if plot is not None:
        quick_probe.check_plot(plot)
    usual = quick_probe.RATES.get(optimizer, (0.0, 0.0))
    asked = quick_probe.Asked(
        model=model,
        text=text,
        replay_text=replay_text,
        replay_fraction=replay,
        decreases=tuple(decrease),
        optimizer=optimizer,
        batches=batches,
        batch_tokens=batch_tokens,
        sequence_length=sequence_length,
        warm_steps=warm_steps,
        rates=(lowest or usual[0], highest or usual[1], points),
        seed=seed,
    )
    measured = quick_probe.measure(asked)
    show(quick_probe.content(measured), as_json, quick_probe.drawn)
    if plot is not None:
        quick_probe.draw(measured, plot)
