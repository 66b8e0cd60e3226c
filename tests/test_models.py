import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from palimpsest.core.flat import FlatWeights
from palimpsest.core.models import count_parameters, load_causal_lm, new_neox, save_causal_lm
from palimpsest.faults import Fault


def tiny(seed=1):
    return new_neox(hidden_size=32, layers=2, heads=2, vocab_size=100, context_length=16, seed=seed)


@pytest.fixture
def tokenizer_folder(tmp_path):
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    (folder / "tokenizer.json").write_text("{}")
    (folder / "meta.json").write_text("{}")
    return folder


def test_seed_alone_decides_the_weights_and_the_global_generator_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = tiny(), tiny(), tiny(seed=2)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first.lm_head.weight, again.lm_head.weight)
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


def test_parameters_counted_by_hand():
    # One block: qkv 32·96 + 96, dense 32·32 + 32, mlp 32·128 + 128 + 128·32 + 32, two norms of 64.
    block = 3168 + 1056 + 4224 + 4128 + 128
    non_embedding = 2 * block + 64
    assert count_parameters(tiny()) == (non_embedding, non_embedding + 2 * 100 * 32)


def test_tied_head_and_learned_positions_are_not_counted_as_non_embedding():
    config = GPT2Config(
        n_embd=32,
        n_layer=2,
        n_head=2,
        vocab_size=100,
        n_positions=16,
        bos_token_id=0,
        eos_token_id=0,
    )
    block = 3168 + 1056 + 4224 + 4128 + 128
    expected = 2 * block + 64
    assert count_parameters(GPT2LMHeadModel(config)) == (expected, expected + 116 * 32)


def test_flattened_weights_survive_the_disk_and_both_writes_are_the_same_bytes(
    tmp_path, tokenizer_folder
):
    model = tiny()
    flat = FlatWeights(model)
    save_causal_lm(model, tmp_path / "a", tokenizer_folder)
    loaded = load_causal_lm(tmp_path / "a")
    save_causal_lm(loaded, tmp_path / "b", tokenizer_folder)
    assert FlatWeights(loaded).digest() == flat.digest()
    assert not loaded.training
    names = sorted(file.name for file in (tmp_path / "a").iterdir())
    assert names == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_half_precision_files_load_as_fp32(tmp_path, tokenizer_folder):
    model = tiny()
    halves = torch.cat([p.detach().half().float().flatten() for p in model.parameters()])
    save_causal_lm(model.half(), tmp_path / "half", tokenizer_folder)
    flat = FlatWeights(load_causal_lm(tmp_path / "half"))
    assert flat.weights.dtype == torch.float32
    np.testing.assert_array_equal(flat.weights, halves)


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_a_weight_too_few_or_too_many_is_a_fault(tmp_path, tokenizer_folder, change):
    save_causal_lm(tiny(), tmp_path / "m", tokenizer_folder)
    file = tmp_path / "m" / "model.safetensors"
    weights = load_file(file)
    if change == "missing":
        del weights["embed_out.weight"]
    else:
        weights["gpt_neox.layers.7.mlp.dense.weight"] = torch.zeros(2, 2)
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(Fault, match=f"{change} keys"):
        load_causal_lm(tmp_path / "m")


def test_a_folder_without_a_model_is_a_fault(tmp_path):
    with pytest.raises(Fault, match=r"no config\.json"):
        load_causal_lm(tmp_path)
