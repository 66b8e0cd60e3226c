"""Turns text into token files: one flat array per split and a table of where each document lies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tokenizers import Tokenizer

from palimpsest.faults import Fault
from palimpsest.progress import step_done

DOCUMENTS_AT_ONCE = 64


def build(spec: dict[str, Any], inputs: dict[str, Any], out: Path) -> None:
    """Write the tokens of a corpus (kind "text") or of the questions (kind "questions")."""
    tokenizer, end_token = load_tokenizer(inputs["tokenizer"])
    if spec["kind"] == "text":
        for split in ("train", "held_out"):
            documents = pd.read_parquet(inputs["text"] / f"{split}.parquet")
            write_split(documents, tokenizer, end_token=end_token, split=split, out=out)
    elif spec["kind"] == "questions":
        write_questions(inputs["questions"], tokenizer, out)
    else:
        raise Fault(f"tokens: no kind {spec['kind']!r} (text, questions)")


def load_tokenizer(folder: Path) -> tuple[Tokenizer, int]:
    """Load the tokenizer and the id of the end token that tokenizer_config.json names."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    # A text that quotes the end token must not end a document.
    tokenizer.encode_special_tokens = True
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    end_token = tokenizer.token_to_id(str(config["eos_token"]))
    if end_token is None:
        raise Fault(f"{folder}: the end token {config['eos_token']!r} is not in tokenizer.json")
    return tokenizer, end_token


def write_split(
    documents: pd.DataFrame, tokenizer: Tokenizer, *, end_token: int, split: str, out: Path
) -> None:
    """Write `<split>.npy`, the documents in order with the end token after each, and its table."""
    dtype = token_dtype(tokenizer.get_vocab_size())
    pieces, lengths = [], []
    for tokens in encode(documents["text"].tolist(), tokenizer):
        pieces.append(np.array([*tokens, end_token], dtype=dtype))
        lengths.append(len(tokens) + 1)
        step_done(len(pieces), len(documents), f"documents of {split}")
    np.save(out / f"{split}.npy", np.concatenate(pieces))
    n_tokens = np.array(lengths, dtype=np.int64)
    table = pd.DataFrame(
        {
            "document": documents["document"],
            "domain": documents["domain"],
            "start_token": np.cumsum(n_tokens) - n_tokens,
            "n_tokens": n_tokens,
            "n_bytes": [len(text.encode()) for text in documents["text"]],
        }
    )
    table.to_parquet(out / f"{split}_documents.parquet", index=False)


def write_questions(folder: Path, tokenizer: Tokenizer, out: Path) -> None:
    """Write questions as prompts that end in `Answer:`, answers with a leading space."""
    questions = pd.read_parquet(folder / "questions.parquet")
    prompts = [f"Question: {text}\nAnswer:" for text in questions["question"]]
    answers = [f" {text}" for text in questions["answer"]]
    table = questions.assign(
        question_ids=pd.Series(list(encode(prompts, tokenizer))),
        answer_ids=pd.Series(list(encode(answers, tokenizer))),
    )
    table.to_parquet(out / "questions.parquet", index=False)


def encode(texts: list[str], tokenizer: Tokenizer) -> Iterator[list[int]]:
    """Yield the token ids of each text, without special tokens."""
    for start in range(0, len(texts), DOCUMENTS_AT_ONCE):
        batch = texts[start : start + DOCUMENTS_AT_ONCE]
        for encoding in tokenizer.encode_batch(batch, add_special_tokens=False):
            yield encoding.ids


def token_dtype(vocab_size: int) -> type[np.unsignedinteger[Any]]:
    """Return the smallest type the vocabulary fits in: uint16 below 65536 entries, else uint32."""
    return np.uint16 if vocab_size < 65536 else np.uint32
