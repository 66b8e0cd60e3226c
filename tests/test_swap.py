from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_artifacts import tiny_model, write_tokenizer
from transformers import AutoModelForCausalLM

from palimpsest.core.flat import FlatWeights
from palimpsest.core.models import new_neox, save_causal_lm
from palimpsest.core.swap import swap_weights
from palimpsest.faults import Fault


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_causal_lm(tiny_model(1), tmp_path / "model", write_tokenizer(tmp_path / "tokenizer"))
    return tmp_path / "model"


def test_swapped_weights_are_from_pretraineds_bit_for_bit_in_the_same_storage(folder: Path) -> None:
    model = tiny_model(0)
    flat = FlatWeights(model)
    place = flat.weights.data_ptr()
    swap_weights(model, folder)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for name, parameter in theirs.named_parameters():
        assert torch.equal(parameter, model.get_parameter(name)), name
    assert torch.equal(flat.weights, FlatWeights(theirs).weights)
    assert flat.weights.data_ptr() == place


def test_a_missing_weight_is_never_passed_over(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    del tensors["embed_out.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(Fault, match="missing"):
        swap_weights(tiny_model(0), folder)


def test_another_shape_is_a_fault(folder: Path) -> None:
    wider = new_neox(hidden_size=32, layers=2, heads=2, vocab_size=257, context_length=16, seed=0)
    with pytest.raises(Fault, match="does not fit"):
        swap_weights(wider, folder)
