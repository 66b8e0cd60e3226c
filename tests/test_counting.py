"""What a plan knows of a model from its config.json alone, against the model itself."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    OPTConfig,
    PreTrainedConfig,
)

from palimpsest import costs, counting, overview, shapes
from palimpsest.core.models import count_parameters

ROW = 24
LLAMA: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 168,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 500,
    "max_position_embeddings": 32,
}
NEOX = LLAMA | {"intermediate_size": 256}
CONFIGS = {
    "gpt2": GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=500, n_positions=32),
    "llama": LlamaConfig(**LLAMA),
    "llama, tied": LlamaConfig(**LLAMA, tie_word_embeddings=True),
    "opt": OPTConfig(
        hidden_size=64,
        ffn_dim=200,
        num_hidden_layers=2,
        num_attention_heads=4,
        vocab_size=500,
        max_position_embeddings=32,
        word_embed_proj_dim=64,
    ),
    "neox": GPTNeoXConfig(**NEOX),
    "neox, tied": GPTNeoXConfig(**NEOX, tie_word_embeddings=True),
    "neox, narrow": GPTNeoXConfig(**NEOX | {"intermediate_size": 100}),
}


pytestmark = pytest.mark.usefixtures("project")  # a folder of its own, in which counts are kept


def folder_of(config: PreTrainedConfig, name: str = "model") -> Path:
    folder = Path(name).resolve()
    folder.mkdir()
    config.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_and_operations_are_those_of_the_model(name: str) -> None:
    """Operations to 1 %, as torch counts them in a forward pass."""
    shape = shapes.of_folder(folder_of(CONFIGS[name]))
    model = AutoModelForCausalLM.from_config(CONFIGS[name], attn_implementation="eager").eval()
    assert costs.parameters(shape) == count_parameters(model)
    assert costs.weight_bytes(shape) == 4 * sum(one.numel() for one in model.parameters())
    assert not shape.guessed
    tokens = torch.zeros(1, ROW, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(tokens, use_cache=False)
    expected = counter.get_total_flops()
    assert costs.forward(shape, ROW, row=ROW).flops == pytest.approx(expected, rel=0.01)


def test_a_llama_by_hand() -> None:
    """Per layer q, o 64² each, k, v 64·32 each, MLP 3·64·168, two norms of 64; one at last."""
    block = 2 * 64**2 + 2 * 64 * 32 + 3 * 64 * 168
    shape = shapes.of_folder(folder_of(CONFIGS["llama, tied"]))
    assert shape.counts == (
        2 * (block + 128) + 64,
        2 * (block + 128) + 64 + 32_000,
        2 * block + 32_000,
    )


def test_what_was_counted_is_kept_for_the_same_config(monkeypatch: pytest.MonkeyPatch) -> None:
    first = counting.count(folder_of(CONFIGS["gpt2"]) / "config.json")
    asked: list[Path] = []
    monkeypatch.setattr(counting, "_empty_model", asked.append)
    assert counting.count(folder_of(CONFIGS["gpt2"], "again") / "config.json") == first
    assert not asked
    assert counting.count(folder_of(CONFIGS["llama"], "other") / "config.json") is None
    assert len(asked) == 1


@pytest.mark.parametrize("model_type", [None, "of-nobody"])
def test_a_family_that_is_not_known_is_counted_with_a_warning(model_type: str | None) -> None:
    shape = {key: value for key, value in NEOX.items() if key != "num_key_value_heads"}
    stated = {"model_type": model_type} if model_type else {}
    Path("mine").mkdir()
    Path("mine/config.json").write_text(json.dumps(shape | stated))
    Path("mine/tokenizer.json").write_text("{}")
    (line,) = (line for line in notes("mine") if line.startswith("mine: "))
    assert "counted as if it were a GPT-NeoX" in line


def test_the_plan_shows_the_counts_of_a_gpt2() -> None:
    """Per layer 12·64² + 13·64 and a last norm; tied embedding 500·64, 32 positions."""
    folder = folder_of(CONFIGS["gpt2"], "mine")
    (folder / "tokenizer.json").write_text("{}")
    n_params = 2 * (12 * 64**2 + 13 * 64) + 128
    assert f"Non-embedding parameters: mine {n_params:,}." in notes("mine")
    totals = overview.estimate(Path("study.yaml"))
    assert totals["models"]["mine"]["n_params_total"] == n_params + (500 + 32) * 64
    assert totals["guessed"] == []


def notes(model: str) -> list[str]:
    """Return the lines below the plan of a study with one run of a model in a folder."""
    study = yaml.safe_load(Path("params.yaml").read_text("utf-8"))
    study["corpora"]["tokenizer"] = {"model": model}
    study["models"] = {"hub": {model: {"path": model}}}
    study["experiments"] = {"one": {"model": model}}
    Path("study.yaml").write_text(yaml.safe_dump(study))
    shapes.of_folder.cache_clear()
    return list(overview._notes(overview.estimate(Path("study.yaml"))))
