"""`palimpsest recommend`: which rate and replay share to take for a size, from built results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palimpsest.faults import Fault

if TYPE_CHECKING:
    import pandas as pd

    from palimpsest.core.answers.recommend import Recommendation

FITS = Path("results/report/fits")


def recommend(
    params: Annotated[
        float, typer.Option("--params", help="Parameters without embeddings, such as 410e6.")
    ],
    max_forgetting: Annotated[
        float, typer.Option(help="Most forgetting that is tolerable, nats per token.")
    ],
    min_learning: Annotated[
        float | None, typer.Option(help="Least learning that is worth it, nats per token.")
    ] = None,
    fits: Annotated[Path, typer.Option(help="Folder with fits.json and surface.csv.")] = FITS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Say which learning rate and replay share to take for a model of a given size.

    Example: palimpsest recommend --params 410e6 --max-forgetting 0.05
    """
    from rich.console import Console

    from palimpsest.core.answers.recommend import Demands, words
    from palimpsest.core.answers.recommend import recommend as advise

    if not params > 0:
        raise Fault(f"--params {params:g}: a number of parameters is above zero")
    advice, surface = built(fits)
    one = advise(advice, surface, params, Demands(max_forgetting, min_learning))
    if as_json:
        print(json.dumps(record(one), indent=1, sort_keys=True, allow_nan=False))
        return
    console = Console()
    for line in words(one):
        style = "bold red" if line.startswith("BEWARE") else None
        console.print(line, style=style, highlight=False, markup=False)


def built(fits: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """Read what the fits stage advises from the results; a Fault says what to run."""
    import pandas as pd

    files = fits / "fits.json", fits / "surface.csv"
    for file in files:
        if not file.is_file():
            raise Fault(f"{file}: there are no results here yet; run `palimpsest run` first")
    advice = json.loads(files[0].read_text("utf-8"))["advice"]
    if not advice["measured"]:
        raise Fault(
            f"{files[0]}: the study has no finished run that learns new text in one pass; add one "
            "to experiments: in params.yaml and run `palimpsest run`"
        )
    return advice, pd.read_csv(files[1])


def record(one: Recommendation) -> dict[str, Any]:
    """Return a recommendation as plain JSON values; what is not known is null."""
    content: dict[str, Any] = {
        "n_params": one.n_params,
        "answer": one.answer,
        "why": one.why,
        "max_forgetting_nats": one.max_forgetting_nats,
        "min_learning_nats": one.min_learning_nats,
        "times_beyond_fitted_sizes": one.beyond,
        "far_beyond": one.loud,
        "evidence": {"source": one.source, "runs": list(one.setting.runs) if one.setting else []},
        "setting": None,
    }
    if one.setting is not None:
        content["setting"] = {
            "policy": one.setting.policy_label,
            "replay_fraction": one.setting.replay_fraction,
            "learning_rate": one.setting.learning_rate._asdict(),
            "one_step_decrease": one.setting.decrease,
            "learning_nats": one.setting.learning._asdict(),
            "forgetting_nats": one.setting.forgetting._asdict(),
            "tokens_per_new_token": one.setting.tokens_factor,
            "benchmarks": one.setting.benchmarks,
        }
    plain: dict[str, Any] = _without_nan(content)
    return plain


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(one) for name, one in value.items()}
    return None if isinstance(value, float) and value != value else value
