"""Small inputs of the stages that train: made-up tokens, a tokenizer, a base of 3 k weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tokenizers import Tokenizer, decoders, models

from palimpsest.stages import bases, train

torch.set_num_threads(1)  # as a worker does: several would not add up in the same order

VOCAB = 50
CONTEXT = 16
OPTIMIZER = {
    "kind": "adamw",
    "beta1": 0.9,
    "beta2": 0.95,
    "epsilon": 1e-8,
    "weight_decay": 0.0,
    "clip_norm": 1.0,
    "layer_slope": 0.0,
}
STREAM = {"kind": "chunks", "sequence_length": 16, "batch_tokens": 32, "n_new_tokens": 256}
PHASE = {
    "kind": "train",
    "ewc": None,
    "stream": STREAM,
    "replay_fraction": 0.0,
    "policy": {"kind": "fixed", "learning_rate": 1e-2},
    "optimizer": OPTIMIZER,
    "carry_optimizer": False,
    "checkpoints": {"kind": "final"},
    "stop": None,
    "measure_edge_every": 0,
    "measure_decrease": False,
}
BASE = {
    "kind": "embedded",
    "hidden_size": 8,
    "layers": 2,
    "heads": 2,
    "context_length": CONTEXT,
    "seed": 0,
    "n_tokens": 640,
    "batch_sequences": 2,
    "learning_rate": 1e-2,
    "warmup_fraction": 0.1,
    "final_learning_rate_fraction": 0.1,
    "weight_decay": 0.1,
    "checkpoints": 3,
}


def write_inputs(folder: Path) -> dict[str, Path]:
    """Write a tokenizer, tokens of D and P, and two questions; return them by role."""
    roles = {name: folder / name for name in ("tokenizer", "new", "original", "questions")}
    for path in roles.values():
        path.mkdir(parents=True)
    write_tokenizer(roles["tokenizer"])
    for seed, name in enumerate(("new", "original")):
        np.save(roles[name] / "train.npy", walk(700, seed=seed).astype(np.uint16))
    table = pd.DataFrame(
        {
            "question": ["w5w6", "w7w8"],
            "answer": ["w9w10", "w11"],
            "question_ids": [[5, 6], [7, 8]],
            "answer_ids": [[9, 10], [11]],
        }
    )
    table.to_parquet(roles["questions"] / "questions.parquet", index=False)
    return roles


def write_tokenizer(folder: Path) -> None:
    """Write a word-level tokenizer: token i is the word `wi`, token 0 ends a text."""
    vocab = {"<|endoftext|>": 0} | {f"w{i}": i for i in range(1, VOCAB)}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<|endoftext|>"))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"eos_token": "<|endoftext|>", "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def walk(n_tokens: int, *, seed: int) -> np.ndarray:
    """Return tokens that mostly count upwards: something that a small model can learn."""
    rng = np.random.default_rng(seed)
    steps = rng.choice([1, 1, 1, 2, 7], size=n_tokens)
    return 1 + np.cumsum(steps) % (VOCAB - 1)


def write_held_out(folder: Path, seed: int) -> None:
    """Write what recall reads beside the training tokens: held-out text and both splits' sizes."""
    np.save(folder / "held_out.npy", walk(100, seed=seed).astype(np.uint16))
    trained = {"document": 0, "start_token": 0, "n_tokens": 700, "n_bytes": 1400}
    pd.DataFrame([trained]).to_parquet(folder / "train_documents.parquet", index=False)
    document = {"document": 0, "domain": "walk", "start_token": 0, "n_tokens": 100, "n_bytes": 250}
    pd.DataFrame([document]).to_parquet(folder / "held_out_documents.parquet", index=False)


def build_base(inputs: dict[str, Path], out: Path, **changes: Any) -> Path:
    """Pretrain the small base into a new folder."""
    out.mkdir(parents=True, exist_ok=True)
    bases.build(BASE | changes, {"tokens": inputs["original"], **inputs}, out)
    return out


def build_train(
    spec: dict[str, Any], inputs: dict[str, Path], out: Path, *, before: Path, base: Path
) -> Path:
    """Train one epoch into a new folder."""
    out.mkdir(parents=True, exist_ok=True)
    train.build(spec, {**inputs, "before": before, "base": base}, out)
    return out


def phase_json(folder: Path) -> dict[str, Any]:
    """Read what a train artifact says about itself."""
    return json.loads((folder / "phase.json").read_text())


def train_spec(
    *, epoch: int = 0, epochs: int | None = None, base_step: int | str = "final", **phase: Any
) -> dict[str, Any]:
    """Return the spec of one epoch with some of the phase's settings changed."""
    return {
        "phase": PHASE | phase,
        "epoch": epoch,
        "epochs": epochs,
        "seed": 0,
        "base_step": base_step,
    }


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
