"""Writes the small artifacts that recall and evals read: tokens, a base, a trained run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from palimpsest.core.models import new_neox, save_causal_lm

VOCAB_SIZE = 257
CONTEXT = 16
STREAM = {"kind": "chunks", "sequence_length": 16, "batch_tokens": 24, "n_new_tokens": 96}
N_PIECES = 4
STEPS = (2, 4)


def tiny_model(seed: int) -> PreTrainedModel:
    return new_neox(
        hidden_size=16,
        layers=2,
        heads=2,
        vocab_size=VOCAB_SIZE,
        context_length=CONTEXT,
        seed=seed,
    )


def write_tokenizer(folder: Path) -> Path:
    """One token per byte, and token 0 for the end of text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<|endoftext|>": 0} | {letter: i for i, letter in enumerate(alphabet, start=1)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    end = "<|endoftext|>"
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=end, bos_token=end, pad_token=end
    ).save_pretrained(folder)
    return folder


def write_tokens(folder: Path, *, seed: int, domains: list[str]) -> Path:
    """Random tokens: train, and a held-out file with one 40-token document per domain."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    np.save(folder / "train.npy", random.integers(0, VOCAB_SIZE, 400).astype(np.uint16))
    n_held_out = 40 * len(domains)
    np.save(folder / "held_out.npy", random.integers(0, VOCAB_SIZE, n_held_out).astype(np.uint16))
    documents = pd.DataFrame(
        {
            "document": range(len(domains)),
            "domain": domains,
            "start_token": [40 * i for i in range(len(domains))],
            "n_tokens": 40,
            "n_bytes": 80,
        }
    )
    documents.to_parquet(folder / "held_out_documents.parquet", index=False)
    trained = pd.DataFrame([{"document": 0, "start_token": 0, "n_tokens": 400, "n_bytes": 1600}])
    trained.to_parquet(folder / "train_documents.parquet", index=False)
    return folder


def write_base(folder: Path, tokenizer: Path) -> Path:
    save_causal_lm(tiny_model(0), folder / "step-00000010", tokenizer)
    listed = {
        "final": "step-00000010",
        "checkpoints": [{"step": 10, "n_tokens": 160, "folder": "step-00000010"}],
        "n_params": 1,
        "n_params_total": 2,
    }
    (folder / "base.json").write_text(json.dumps(listed))
    return folder


def write_train(folder: Path, tokenizer: Path) -> Path:
    """Two checkpoints (other random weights), four pieces seen one by one at steps 1 … 4."""
    for step in STEPS:
        save_causal_lm(tiny_model(step), folder / f"step-{step:08d}", tokenizer)
    kept = [{"step": step, "folder": f"step-{step:08d}"} for step in STEPS]
    phase = {"checkpoints": kept, "final": "step-00000004", "first_step": 0, "last_step": 4}
    (folder / "phase.json").write_text(json.dumps(phase))
    write_passes(folder)
    return folder


def write_passes(folder: Path) -> None:
    pieces = pd.DataFrame({"piece": range(N_PIECES), "visit": 0, "n_tokens": 24})
    pieces["position"] = OFFSET_OF_SEED_0 + 1 + 24 * pieces.piece
    pieces["first_step"] = pieces["last_step"] = pieces.piece + 1
    pieces.to_parquet(folder / "pieces.parquet", index=False)
    live = [
        {"moment": moment, "piece": piece, "visit": 0, "loss_nats": loss, "n_tokens": 24}
        | {"step": piece + 1 - (moment == "before_first")}
        for piece in range(N_PIECES)
        for moment, loss in (("before_first", 6.0 + piece), ("after_last", 5.0 + piece))
    ]
    pd.DataFrame(live).to_parquet(folder / "live.parquet", index=False)


def recall_spec(**changed: Any) -> dict[str, Any]:
    phase = {"kind": "train", "stream": STREAM, "replay_fraction": 0.0}
    train = {"phase": phase, "epoch": 0, "seed": 0, "base_step": "final"}
    spec = {"every": 1, "held_out_tokens": 64, "drift_tokens": 32, "checkpoints": "all"}
    spec["per_token"] = False
    return spec | {"phases": [train]} | changed


def recall_inputs(folder: Path) -> dict[str, Any]:
    tokenizer = write_tokenizer(folder / "tokenizer")
    return {
        "base": write_base(folder / "base", tokenizer),
        "trains": [write_train(folder / "train", tokenizer)],
        "new": write_tokens(folder / "new", seed=1, domains=["dnd"]),
        "original": write_tokens(folder / "original", seed=2, domains=["books", "code", "books"]),
    }


OFFSET_OF_SEED_0 = int(np.random.default_rng(16).permutation(16)[0])
torch.set_num_threads(1)
