"""Names of models → shapes: Pythia from its published configurations, folders from config.json."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from palimpsest.faults import Fault


class Counts(NamedTuple):
    """Weights of a model, tied ones once; `n_multiplied` are those that a token is multiplied with.

    n_params: without embeddings and output head.
    """

    n_params: int
    n_params_total: int
    n_multiplied: int


@dataclass(frozen=True)
class Shape:
    """What counts and costs depend on.

    Without `counts` it is a GPT-NeoX's of Pythia's kind: output head not tied to the embedding,
    feed-forward width four times `hidden_size`. `guessed`: nobody says whether it is one.
    """

    hidden_size: int
    layers: int
    vocab_size: int
    context_length: int
    counts: Counts | None = None
    guessed: bool = False


# Layers and widths: table 1 of Biderman et al. 2023 (arXiv 2304.01373) and, for 14m and 31m,
# models/ in github.com/EleutherAI/pythia. Rows of the embedding: config.json of each repository;
# they were padded for the parallel training of the larger sizes.
PYTHIA = {
    "pythia-14m": Shape(128, 6, 50304, 2048),
    "pythia-31m": Shape(256, 6, 50304, 2048),
    "pythia-70m": Shape(512, 6, 50304, 2048),
    "pythia-160m": Shape(768, 12, 50304, 2048),
    "pythia-410m": Shape(1024, 24, 50304, 2048),
    "pythia-1b": Shape(2048, 16, 50304, 2048),
    "pythia-1.4b": Shape(2048, 24, 50304, 2048),
    "pythia-2.8b": Shape(2560, 32, 50304, 2048),
    "pythia-6.9b": Shape(4096, 32, 50432, 2048),
    "pythia-12b": Shape(5120, 36, 50688, 2048),
}
# 1,024 rows of 2,048 tokens per update; kept after 0, 1, 2, 4 … 512 updates and every thousandth.
PYTHIA_TOKENS_PER_STEP = 2**21
PYTHIA_STEPS = (0, *(2**i for i in range(10)), *range(1000, 144_000, 1000))

SIZE_KEYS = {  # in config.json, by what families of models call them
    "hidden_size": ("hidden_size", "n_embd", "d_model"),
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "vocab_size": ("vocab_size",),
    "context_length": ("max_position_embeddings", "n_positions", "max_seq_len"),
}


def pythia(name: str) -> Shape | None:
    """Return the shape of `pythia-<size>` or `pythia-<size>-deduped`; None for other names."""
    return PYTHIA.get(name.removesuffix("-deduped"))


@cache
def of_folder(folder: Path) -> Shape:
    """Return the shape that a folder's config.json states; a Fault names what is missing."""
    return _of_config(_json(folder / "config.json"), folder / "config.json")


@cache
def of_hub(repo: str, revision: str) -> Shape | None:
    """Return the shape of a hub model whose config.json lies in this machine's hub cache."""
    if re.fullmatch(r"EleutherAI/pythia-[\w.-]+", repo) and pythia(repo.split("/")[1]):
        return pythia(repo.split("/")[1])
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(repo, "config.json", revision=revision)
    return _of_config(_json(Path(file)), Path(file)) if isinstance(file, str) else None


def _of_config(config: dict[str, Any], file: Path) -> Shape:
    found: dict[str, Any] = {}
    for size, names in SIZE_KEYS.items():
        stated = [config[name] for name in names if isinstance(config.get(name), int)]
        if not stated:
            raise Fault(f"{file}: states no {' or '.join(names)}; is it a causal language model's?")
        found[size] = stated[0]
    return Shape(**found, **_counted(config, file))


def _counted(config: dict[str, Any], file: Path) -> dict[str, Any]:
    """Return a shape's `counts`, or that they are guessed; nothing for Pythia's own kind."""
    if "model_type" not in config:
        return {"guessed": True}
    if _like_pythia(config):
        return {}
    from palimpsest.counting import count

    counts = count(file)
    return {"guessed": True} if counts is None else {"counts": counts}


def _like_pythia(config: dict[str, Any]) -> bool:
    """Tell whether a config.json's model has the weights that `costs.parameters` counts."""
    return (
        config["model_type"] == "gpt_neox"
        and config.get("intermediate_size") == 4 * config.get("hidden_size", 0)
        and config.get("tie_word_embeddings") is False
        and config.get("attention_bias", True) is True
    )


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise Fault(
            f"{file}: no such file; models.hub takes a folder that save_pretrained wrote"
        ) from None
    except ValueError as error:
        raise Fault(f"{file}: not JSON: {error}") from None
    return dict(content)
