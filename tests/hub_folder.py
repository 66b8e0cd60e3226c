"""Builds what `hf download` leaves in the hub cache: refs, blobs, snapshots of links to them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from palimpsest.core.models import new_neox

COMMIT = "0123456789abcdef0123456789abcdef01234567"
# config.json of huggingface.co/EleutherAI/pythia-70m, as published.
PYTHIA_70M = {
    "architectures": ["GPTNeoXForCausalLM"],
    "bos_token_id": 0,
    "eos_token_id": 0,
    "hidden_act": "gelu",
    "hidden_size": 512,
    "initializer_range": 0.02,
    "intermediate_size": 2048,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 2048,
    "model_type": "gpt_neox",
    "num_attention_heads": 8,
    "num_hidden_layers": 6,
    "rotary_emb_base": 10000,
    "rotary_pct": 0.25,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "transformers_version": "4.24.0",
    "use_cache": True,
    "use_parallel_residual": True,
    "vocab_size": 50304,
}
END, PADDING = "<|endoftext|>", "<|padding|>"
SENTENCES = ["The salt bell rang twice over the harbour.", "Nobody answered; the tide was out."]


def publish(cache: Path, repo: str, files: Path, *, ref: str, kind: str = "models") -> Path:
    """Put a folder's files into a hub cache under a branch name; return the snapshot."""
    root = cache / f"{kind}--{repo.replace('/', '--')}"
    snapshot = root / "snapshots" / COMMIT
    for file in sorted(path for path in files.rglob("*") if path.is_file()):
        blob = root / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        link = snapshot / file.relative_to(files)
        blob.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(file.read_bytes())
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    (root / "refs").mkdir(exist_ok=True)
    (root / "refs" / ref).write_text(COMMIT)
    return snapshot


def write_pythia(folder: Path, config: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Write a Pythia repository: two float16 shards under the published names, config, tokenizer.

    Like the published files they hold each layer's mask and rotation beside its weights. Returns
    the weights alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    write_neox_tokenizer(folder)
    weights = published_weights(config)
    stored = weights | legacy_buffers(config)
    shards = [sorted(stored)[0::2], sorted(stored)[1::2]]
    places = {}
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-00002.safetensors"
        save_file({n: stored[n] for n in names}, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(names, file)
    size = sum(tensor.numel() * tensor.element_size() for tensor in stored.values())
    index = {"metadata": {"total_size": size}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return weights


def published_weights(config: dict[str, Any]) -> dict[str, torch.Tensor]:
    model = new_neox(
        hidden_size=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        vocab_size=config["vocab_size"],
        context_length=config["max_position_embeddings"],
        seed=7,
    )
    renamed = {"lm_head.weight": "embed_out.weight"}
    return {
        renamed.get(name, name): parameter.detach().half().contiguous()
        for name, parameter in model.named_parameters()
    }


def legacy_buffers(config: dict[str, Any]) -> dict[str, torch.Tensor]:
    n_rotated = int(config["hidden_size"] / config["num_attention_heads"] * config["rotary_pct"])
    length, found = config["max_position_embeddings"], {}
    for layer in range(config["num_hidden_layers"]):
        place = f"gpt_neox.layers.{layer}.attention"
        mask = torch.ones(length, length, dtype=torch.bool).tril()
        found[f"{place}.bias"] = mask.view(1, 1, length, length)
        found[f"{place}.masked_bias"] = torch.tensor(-1e9)
        powers = torch.arange(0, n_rotated, 2) / n_rotated
        found[f"{place}.rotary_emb.inv_freq"] = 1 / 10000**powers
    return found


def write_neox_tokenizer(folder: Path, sentences: list[str] = SENTENCES) -> None:
    """Write tokenizer files of GPT-NeoX's kind: bytes, normal form C, two special tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[END, PADDING],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer=trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"unk_token": END, "bos_token": END, "eos_token": END}
    config = special | {"add_prefix_space": False, "tokenizer_class": "GPTNeoXTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
