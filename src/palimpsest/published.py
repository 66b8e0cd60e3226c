"""A model's name → where its weights and tokenizer come from, and its shape. Loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from palimpsest import params as P
from palimpsest import shapes
from palimpsest.core.plug_ins import nearest
from palimpsest.faults import Fault
from palimpsest.shapes import Shape

Spec = dict[str, Any]


def shape(params: P.Params, model: str) -> Shape | None:
    """Return a model's shape; None for a hub model whose config.json is not on this machine."""
    hub = params.models.published(model)
    if hub is None:
        return _embedded(params, model)
    if hub.path is not None:
        return shapes.of_folder(Path(hub.path))
    return shapes.of_hub(str(hub.repo), str(hub.revision))


def _embedded(params: P.Params, model: str) -> Shape:
    size, pretraining = params.models.sizes[model], params.models.pretraining
    assert pretraining is not None
    return Shape(size.hidden_size, size.layers, vocab_size(params), pretraining.context_length)


def vocab_size(params: P.Params) -> int:
    """Return how many entries the study's tokenizer has; of a taken one about, for costs only."""
    tokenizer = params.corpora.tokenizer
    if tokenizer.model is None:
        return tokenizer.vocab_size or 2048
    taken = shape(params, tokenizer.model)
    return taken.vocab_size if taken else shapes.PYTHIA["pythia-70m"].vocab_size


def tokenizer_spec(params: P.Params) -> tuple[Spec, list[Path]]:
    """Return what makes the study's tokenizer, and the local files that it is made from."""
    tokenizer = params.corpora.tokenizer
    if tokenizer.model is None:
        return {"kind": "tokenizer", "vocab_size": vocab_size(params)}, []
    if params.models.published(tokenizer.model) is None:
        known = [*params.models.hub, *shapes.PYTHIA]
        raise Fault(
            f"corpora.tokenizer.model: no published model {tokenizer.model!r} (vocab_size would "
            f"train one){nearest(tokenizer.model, known)}"
        )
    spec = source(params, tokenizer.model, "final")
    return {"kind": "published-tokenizer", **spec}, files(spec, tokenizer=True)


def source(params: P.Params, model: str, base_step: int | Literal["final"]) -> Spec:
    """Return {repo, revision} or {path} of a published model after so many of its updates."""
    hub = params.models.published(model)
    assert hub is not None
    if base_step == "final":
        return {"path": hub.path} if hub.path else {"repo": hub.repo, "revision": hub.revision}
    if hub.path:
        raise Fault(f"models.hub.{model}: a folder holds one checkpoint; leave base_step out")
    if shapes.pythia(model) and base_step not in shapes.PYTHIA_STEPS:
        near = min(shapes.PYTHIA_STEPS, key=lambda step: abs(step - base_step))
        raise Fault(f"base_step: {model} was not kept after {base_step} updates; nearest: {near}")
    return {"repo": hub.repo, "revision": f"step{base_step}"}


def base_spec(params: P.Params, model: str, base_step: int | Literal["final"]) -> Spec:
    """Return the spec of a base that is fetched or copied; `step` counts its pretraining's updates.

    step and tokens_per_step are 0 where nobody says how long the model was pretrained.
    """
    named = source(params, model, base_step)
    revision = str(named.get("revision", ""))
    step = revision.removeprefix("step") if revision.startswith("step") else "0"
    known = shapes.pythia(model) is not None
    return {
        "kind": "published",
        **named,
        "step": int(step) if step.isdigit() else 0,
        "tokens_per_step": shapes.PYTHIA_TOKENS_PER_STEP if known else 0,
    }


def files(spec: Spec, *, tokenizer: bool = False) -> list[Path]:
    """Return the local files whose content is a model's identity; of a hub model none."""
    if "path" not in spec:
        return []
    folder = Path(spec["path"])
    found = sorted(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []
    wanted = [file for file in found if not tokenizer or "token" in file.name]
    if not wanted:
        raise Fault(f"{folder}: named in models.hub, but there is no such folder with a model")
    return wanted
