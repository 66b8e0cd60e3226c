"""Hugging Face folders to fp32 causal language models and back, strictly.

Models are handed out in eval mode and stay there: dropout is off in training too, so that a
step's loss and a measured loss are the same function of the weights.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from palimpsest.faults import Fault

TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges*",
)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

transformers_logging.disable_progress_bar()


def device() -> torch.device:
    """Return the accelerator where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def new_neox(
    *,
    hidden_size: int,
    layers: int,
    heads: int,
    vocab_size: int,
    context_length: int,
    seed: int,
) -> PreTrainedModel:
    """Return a GPT-NeoX of Pythia's shape, its fp32 weights drawn from `seed` alone.

    Token 0 is the end of text, as in the pipeline's own tokenizers.
    """
    config = GPTNeoXConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=4 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=context_length,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GPTNeoXForCausalLM(config)
    return _ready(model)


def load_causal_lm(folder: Path | str) -> PreTrainedModel:
    """Return a Hugging Face folder's model in fp32; weights missing or left over are a Fault."""
    if not (Path(folder) / "config.json").is_file():
        raise Fault(f"{folder}: no config.json there; give a folder written by save_pretrained")
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        # A shard that is absent or cut, an architecture that transformers does not know.
        raise Fault(f"{folder}: no model to load: {' '.join(str(error).split())[:300]}") from None
    model, info = loaded
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info.get(what):
            names = ", ".join(sorted(str(key) for key in info[what])[:3])
            raise Fault(f"{folder}: {what.replace('_', ' ')} ({names} …); the weights do not fit")
    return _ready(model)


def save_causal_lm(
    model: PreTrainedModel, folder: Path, tokenizer_folder: Path, *, dtype: str = "fp32"
) -> None:
    """Write safetensors, config and tokenizer files that AutoModelForCausalLM loads.

    dtype: fp32, or bf16 for half the bytes and 8 bits of precision; both load as fp32.
    """
    model.save_pretrained(folder, state_dict=_own_storage(model, DTYPES[dtype]))
    for pattern in TOKENIZER_FILES:
        for file in sorted(Path(tokenizer_folder).glob(pattern)):
            shutil.copyfile(file, Path(folder) / file.name)


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Return (non-embedding, all) parameters; tied weights count once.

    Not counted as non-embedding: every embedding table (tokens, learned positions) and the
    output head.
    """
    tables = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
    head = cast(PreTrainedModel, model).get_output_embeddings()
    if head is not None:
        tables.extend(head.parameters())
    n_embedding = sum(table.numel() for table in {id(table): table for table in tables}.values())
    n_total = sum(parameter.numel() for parameter in model.parameters())
    return n_total - n_embedding, n_total


def _ready(model: PreTrainedModel) -> PreTrainedModel:
    """Put the model on the device and in eval mode."""
    moved = cast(nn.Module, model).to(device())
    return cast(PreTrainedModel, moved.eval())


def _own_storage(model: nn.Module, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return the state dict with each tensor in storage of its own, tied ones still shared.

    Weights that are views of one flat buffer look shared to safetensors, which refuses them.
    """
    copies: dict[tuple[int, int], torch.Tensor] = {}
    state = {}
    for name, tensor in model.state_dict().items():
        place = (tensor.data_ptr(), tensor.numel())
        if place not in copies:
            copies[place] = tensor.detach().to(dtype, copy=True)
        state[name] = copies[place]
    return state
