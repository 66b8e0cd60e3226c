"""A config.json → the weights of the model that it describes, counted without making them.

transformers puts the model together on torch's meta device. Both take seconds to import, so that
what was counted is kept in this folder, under the hash of the config and the
version of transformers.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from palimpsest import store
from palimpsest.shapes import Counts

KEPT = store.WORK / "counts"


def count(file: Path) -> Counts | None:
    """Count the weights of a config.json's model; None where transformers makes no model of it."""
    config = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    kept = KEPT / f"{config}-transformers-{version('transformers')}.json"
    if not kept.is_file():
        model = _empty_model(file)
        kept.parent.mkdir(parents=True, exist_ok=True)
        store.write_json(kept, model and _count(model)._asdict())
    counts = store.read_json(kept)
    return None if counts is None else Counts(**counts)


def _empty_model(file: Path) -> Any:
    """Return the model without storage: even the largest takes no memory."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(str(file), trust_remote_code=False)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception:  # no family here, or whatever one raises at numbers that make no model
        return None


def _count(model: Any) -> Counts:
    """Count; looking up multiplies nothing, the output head does even where its table is shared."""
    from torch import nn

    from palimpsest.core.models import count_parameters

    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    head = model.get_output_embeddings()
    if head is not None:
        tables.discard(id(head.weight))
    matrices = (weight for weight in model.parameters() if weight.dim() > 1)
    n_multiplied = sum(weight.numel() for weight in matrices if id(weight) not in tables)
    return Counts(*count_parameters(model), n_multiplied)
