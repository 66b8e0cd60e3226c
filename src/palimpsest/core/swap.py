"""A checkpoint folder → the weights of a model that is already built, copied in place, strictly."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from palimpsest.core.models import load_causal_lm
from palimpsest.faults import Fault

# transformers 5.23 calls GPT-NeoX's head `lm_head`; its files keep the older name.
NAMES_IN_FILES = {"embed_out.weight": "lm_head.weight"}


def swap_weights(model: nn.Module, folder: Path) -> None:
    """Copy the folder's weights into the model's parameters, whose storage stays where it is.

    About 1 ms for a small model, where building one takes 20. Names that the file does not share
    with the model (other architectures, sharded or older files) go through `load_causal_lm`.
    Raises Fault when a parameter is missing, left over, or of another shape.
    """
    parameters = dict(model.named_parameters())
    stored = _stored(folder)
    if stored.keys() != parameters.keys():
        stored = dict(load_causal_lm(folder).named_parameters())
    wrong = stored.keys() ^ parameters.keys() or {
        name for name in parameters if stored[name].shape != parameters[name].shape
    }
    if wrong:
        raise Fault(f"{folder}: {sorted(wrong)[0]} does not fit the model of the run's base")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(stored[name])


def _stored(folder: Path) -> dict[str, Tensor]:
    """Return a single-file folder's tensors under the model's names; nothing for other folders."""
    file = folder / "model.safetensors"
    if not file.is_file():
        return {}
    return {NAMES_IN_FILES.get(name, name): tensor for name, tensor in load_file(file).items()}
