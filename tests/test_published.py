"""Published models: sizes and costs in the plan, and what the stages make of a hub cache."""

import json
from pathlib import Path

import httpx2
import huggingface_hub.constants
import pytest
import torch
from hub_folder import COMMIT, PYTHIA_70M, publish, write_neox_tokenizer, write_pythia
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors.torch import load_file, save_file
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM

from palimpsest import costs
from palimpsest.core import hub
from palimpsest.core.models import count_parameters
from palimpsest.faults import Fault
from palimpsest.shapes import PYTHIA, Shape
from palimpsest.stages import bases, corpora

# Non-embedding and all parameters as the model cards give them, huggingface.co/EleutherAI/pythia-*
# (14m and 31m have no table there; theirs are counted below).
PUBLISHED = {
    "pythia-70m": (18_915_328, 70_426_624),
    "pythia-160m": (85_056_000, 162_322_944),
    "pythia-410m": (302_311_424, 405_334_016),
    "pythia-1b": (805_736_448, 1_011_781_632),
    "pythia-1.4b": (1_208_602_624, 1_414_647_808),
    "pythia-2.8b": (2_517_652_480, 2_775_208_960),
    "pythia-6.9b": (6_444_163_072, 6_857_302_016),
    "pythia-12b": (11_327_027_200, 11_846_072_320),
}
HEADS = dict(zip(PYTHIA, (4, 8, 8, 12, 16, 8, 16, 32, 32, 40), strict=True))
SMALL = PYTHIA_70M | {
    "hidden_size": 32,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 320,
    "max_position_embeddings": 16,
}
REPO = {"repo": "EleutherAI/pythia-70m", "revision": "step3000"}
BASE = {"kind": "published", **REPO, "step": 3000, "tokens_per_step": 2**21}


def empty_model(name: str) -> GPTNeoXForCausalLM:
    """Return the model without storage: even the largest takes no memory."""
    shape = PYTHIA[name]
    config = GPTNeoXConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=4 * shape.hidden_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=HEADS[name],
        attn_implementation="eager",
    )
    with torch.device("meta"):
        return GPTNeoXForCausalLM(config)


@pytest.mark.parametrize("name", PYTHIA)
def test_parameters_are_those_of_the_model(name: str) -> None:
    counted = costs.parameters(PYTHIA[name])
    assert counted == count_parameters(empty_model(name))
    assert counted == PUBLISHED.get(name, counted)


@pytest.mark.parametrize("name", PYTHIA)
def test_operations_are_those_that_torch_counts_to_one_percent(name: str) -> None:
    model, row = empty_model(name), 2048
    tokens = torch.zeros(1, row, dtype=torch.long, device="meta")
    mask = torch.zeros(1, 1, row, row, device="meta")  # made, it would be looked into
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(tokens, attention_mask=mask, position_ids=tokens, use_cache=False)
    estimated = costs.forward(PYTHIA[name], row, row=row).flops
    assert estimated == pytest.approx(counter.get_total_flops(), rel=0.01)
    assert costs.training(PYTHIA[name], row, row=row).flops == pytest.approx(3 * estimated)


def test_an_unknown_shape_costs_nothing_that_is_known() -> None:
    assert costs.training(None, 100.0, row=10) == costs.Cost(n_tokens=100.0)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def built(stage, spec: dict, out: Path, **inputs: Path) -> Path:
    out.mkdir(parents=True)
    stage.build(spec, inputs, out)
    return out


def take(tmp_path: Path, name: str = "tokenizer") -> Path:
    return built(corpora, {"kind": "published-tokenizer", **REPO}, tmp_path / name)


def test_a_base_is_the_published_weights_in_fp32(tmp_path: Path, cache: Path) -> None:
    weights = write_pythia(tmp_path / "files", SMALL)
    publish(cache, REPO["repo"], tmp_path / "files", ref="step3000")
    base = built(bases, BASE, tmp_path / "base", tokenizer=take(tmp_path))
    said = json.loads((base / "base.json").read_text())
    block = 12 * 32**2 + 13 * 32
    assert (said["n_params"], said["n_params_total"]) == (
        2 * block + 64,
        2 * block + 64 + 2 * 320 * 32,
    )
    kept = {"step": 3000, "n_tokens": 6_291_456_000, "folder": "step-00003000"}
    assert (said["checkpoints"], said["final"]) == ([kept], "step-00003000")
    assert said["origin"] == REPO | {"commit": COMMIT}
    stored = load_file(base / "step-00003000" / "model.safetensors")
    assert stored.keys() == weights.keys()
    assert {tensor.dtype for tensor in stored.values()} == {torch.float32}
    assert all(torch.equal(stored[name], weights[name].float()) for name in weights)


def test_older_repositories_have_pickled_weights(tmp_path: Path, cache: Path) -> None:
    weights = write_pythia(tmp_path / "files", SMALL)
    for file in (tmp_path / "files").glob("model*"):
        file.unlink()
    torch.save(weights, tmp_path / "files" / "pytorch_model.bin")
    publish(cache, REPO["repo"], tmp_path / "files", ref="step3000")
    base = built(bases, BASE, tmp_path / "base", tokenizer=take(tmp_path))
    stored = load_file(base / "step-00003000" / "model.safetensors")
    assert torch.equal(stored["embed_out.weight"], weights["embed_out.weight"].float())


def test_a_folder_of_another_family_is_a_base(tmp_path: Path) -> None:
    config = GPT2Config(
        n_embd=32, n_layer=2, n_head=2, vocab_size=300, n_positions=16, eos_token_id=299
    )
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "mine")
    write_neox_tokenizer(tmp_path / "mine")
    place = {"path": str(tmp_path / "mine")}
    tokenizer = built(corpora, {"kind": "published-tokenizer", **place}, tmp_path / "tokenizer")
    spec = {"kind": "published", **place, "step": 0, "tokens_per_step": 0}
    base = built(bases, spec, tmp_path / "base", tokenizer=tokenizer)
    said = json.loads((base / "base.json").read_text())
    assert said["checkpoints"] == [{"step": 0, "n_tokens": None, "folder": "step-00000000"}]
    config = json.loads((base / "step-00000000" / "config.json").read_text())
    assert config["eos_token_id"] == 0  # the tokenizer's, not the config's


@pytest.mark.parametrize("change", ["missing", "unexpected", "no shard"])
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, cache: Path, change: str) -> None:
    write_pythia(tmp_path / "files", SMALL)
    file = tmp_path / "files" / "model-00002-of-00002.safetensors"
    stored, index = load_file(file), tmp_path / "files" / "model.safetensors.index.json"
    places = json.loads(index.read_text())
    name = next(name for name in stored if name.endswith("dense.weight"))
    if change == "missing":
        del stored[name], places["weight_map"][name]
    else:
        stored["gpt_neox.layers.9.mlp.dense_4h_to_h.weight"] = torch.zeros(2)
        places["weight_map"]["gpt_neox.layers.9.mlp.dense_4h_to_h.weight"] = file.name
    save_file(stored, file, metadata={"format": "pt"})
    index.write_text(json.dumps(places))
    if change == "no shard":
        file.unlink()
    publish(cache, REPO["repo"], tmp_path / "files", ref="step3000")
    with pytest.raises(Fault, match="no model to load" if change == "no shard" else change) as told:
        built(bases, BASE, tmp_path / "base", tokenizer=take(tmp_path))
    assert "\n" not in str(told.value)


def test_what_is_not_in_the_cache_is_named_with_the_command_that_brings_it(
    tmp_path: Path, cache: Path
) -> None:
    with pytest.raises(Fault) as told:
        take(tmp_path)
    line = str(told.value)
    assert line.startswith(f"EleutherAI/pythia-70m@step3000: not in {cache} and HF_HUB_OFFLINE")
    assert "HF_HUB_OFFLINE=0, or: hf download EleutherAI/pythia-70m --revision step3000" in line
    assert "\n" not in line


REFUSALS = [
    (GatedRepoError, "gated; accept its terms at https://huggingface.co/owner/name and set HF_TOK"),
    (RepositoryNotFoundError, "no such model at https://huggingface.co/owner/name, or a private o"),
    (RevisionNotFoundError, "no such revision; https://huggingface.co/owner/name/tree/main lists"),
    (HfHubHTTPError, "the hub refuses: no"),
    (LocalEntryNotFoundError, "or: hf download owner/name --revision v1"),
]


@pytest.mark.parametrize(
    ("error", "line"), REFUSALS, ids=lambda case: getattr(case, "__name__", "")
)
def test_what_the_hub_refuses_is_one_line(error: type[Exception], line: str) -> None:
    response = httpx2.Response(403, request=httpx2.Request("GET", "https://huggingface.co"))
    given = {} if error is LocalEntryNotFoundError else {"response": response}
    with pytest.raises(Fault) as told, hub.faults("owner/name", "v1", kind="model"):
        raise error("no\nand no", **given)
    assert line in str(told.value)
    assert str(told.value).startswith("owner/name@v1: ")
    assert "\n" not in str(told.value)


def test_a_model_with_the_same_tokenizer_passes(tmp_path: Path, cache: Path) -> None:
    write_neox_tokenizer(tmp_path / "files")
    publish(cache, REPO["repo"], tmp_path / "files", ref="step3000")
    study = take(tmp_path)
    # Padding and truncation cut no text differently.
    content = json.loads((tmp_path / "files" / "tokenizer.json").read_text())
    content["truncation"] = {
        "direction": "Right",
        "max_length": 8,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    (tmp_path / "files" / "tokenizer.json").write_text(json.dumps(content))
    publish(cache, "EleutherAI/pythia-1b", tmp_path / "files", ref="step3000")
    spec = {"kind": "same-tokenizer", "repo": "EleutherAI/pythia-1b", "revision": "step3000"}
    out = built(corpora, spec, tmp_path / "same", tokenizer=study)
    assert json.loads((out / "origin.json").read_text())["commit"] == COMMIT


@pytest.mark.parametrize("change", ["vocabulary", "normalizer"])
def test_a_model_with_another_tokenizer_is_named(tmp_path: Path, cache: Path, change: str) -> None:
    write_neox_tokenizer(tmp_path / "files")
    publish(cache, REPO["repo"], tmp_path / "files", ref="step3000")
    study = take(tmp_path)
    write_neox_tokenizer(tmp_path / "other", ["xyzzy plugh", "plover xyzzy"])
    if change == "normalizer":
        content = json.loads((tmp_path / "files" / "tokenizer.json").read_text())
        content["normalizer"] = {"type": "NFD"}
        (tmp_path / "other" / "tokenizer.json").write_text(json.dumps(content))
    publish(cache, "EleutherAI/pythia-1b", tmp_path / "other", ref="step3000")
    spec = {"kind": "same-tokenizer", "repo": "EleutherAI/pythia-1b", "revision": "step3000"}
    with pytest.raises(Fault, match="pythia-1b: another tokenizer than the study") as told:
        built(corpora, spec, tmp_path / "same", tokenizer=study)
    expected = "another normalizer" if change == "normalizer" else "entries; token"
    assert expected in str(told.value)


def test_the_shape_counts_by_hand() -> None:
    """One layer of width 8: 4·8² attention, 8·8² MLP, 13·8 biases and norms; 16 and 2·10·8 more."""
    assert costs.parameters(Shape(8, 1, 10, 4)) == (12 * 64 + 104 + 16, 12 * 64 + 104 + 16 + 160)
