"""Turns source files into tidy parquet (documents, sessions, questions), text into a tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from palimpsest.core.records import Record, document_of, question_of, read_records, session_of
from palimpsest.faults import Fault

END_OF_TEXT = "<|endoftext|>"
COLUMNS = ["document", "domain", "title", "text"]


def build(spec: dict[str, Any], inputs: dict[str, Any], out: Path) -> None:
    """Write the artifact that `spec["kind"]` names: documents, sessions, questions or tokenizer."""
    if spec["kind"] == "documents":
        write_documents(spec, out)
    elif spec["kind"] == "sessions":
        write_sessions(spec, out)
    elif spec["kind"] == "questions":
        write_questions(spec, out)
    elif spec["kind"] == "tokenizer":
        train_tokenizer(spec, inputs["original"], out)
    else:
        raise Fault(
            f"corpora: no kind {spec['kind']!r} (documents, sessions, questions, tokenizer)"
        )


def write_documents(spec: dict[str, Any], out: Path) -> None:
    """Write both splits of a corpus of documents; `max_documents` keeps the first of each split."""
    splits = []
    for split in ("train", "held_out"):
        path = Path(spec[split])
        parsed = read_records(path, document_of)
        splits.append(frame(islice(parsed, spec["max_documents"]), path))
    write_splits(train=splits[0], held_out=splits[1], out=out)


def write_sessions(spec: dict[str, Any], out: Path) -> None:
    """Write the sessions in time order; the last `held_out_episodes` are the held-out split.

    `episode_characters`, if given, shortens each training episode to its first whole lines, so
    that a small study still passes through all of the story.
    """
    path, n_held_out = Path(spec["path"]), spec["held_out_episodes"]
    sessions = frame(read_records(path, session_of), path)
    n_train = len(sessions) - n_held_out
    if n_held_out < 1 or n_train < 1:
        raise Fault(
            f"{path}: held_out_episodes is {n_held_out}, the file has {len(sessions)} episodes; "
            "give a number that leaves at least one on each side"
        )
    most = spec["episode_characters"]
    train = sessions.iloc[:n_train]
    train = train.assign(text=[shortened(text, most) for text in train["text"]])
    held_out = sessions.iloc[n_train:].assign(document=range(n_held_out))
    write_splits(train=train, held_out=held_out, out=out)


def write_questions(spec: dict[str, Any], out: Path) -> None:
    """Write the question and answer pairs in the order of the file."""
    path = Path(spec["path"])
    questions = pd.DataFrame(read_records(path, question_of), columns=["question", "answer"])
    if questions.empty:
        raise Fault(f"{path}: holds no records")
    questions.to_parquet(out / "questions.parquet", index=False)


def train_tokenizer(spec: dict[str, Any], original: Path, out: Path) -> None:
    """Train a byte-level BPE on the training text; the end-of-text token has id 0."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    texts = pd.read_parquet(original / "train.parquet", columns=["text"])["text"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=spec["vocab_size"],
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer, length=len(texts))
    if tokenizer.get_vocab_size() != spec["vocab_size"]:
        raise Fault(
            f"tokenizer: vocab_size {spec['vocab_size']} cannot be had from this text, "
            f"which gives {tokenizer.get_vocab_size()} entries; ask for 257 up to that number"
        )
    tokenizer.save(str(out / "tokenizer.json"))
    write_tokenizer_config(out)


def write_tokenizer_config(out: Path) -> None:
    """Write what `AutoTokenizer` reads beside tokenizer.json."""
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": False,
    }
    text = json.dumps(config, sort_keys=True, indent=1)
    (out / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")


def write_splits(*, train: pd.DataFrame, held_out: pd.DataFrame, out: Path) -> None:
    """Write train.parquet and held_out.parquet; a text that stands in both is refused."""
    shared = held_out["text"].isin(set(train["text"]))
    if shared.any():
        number = held_out.loc[shared, "document"].iloc[0]
        raise Fault(f"held-out document {number} is in the training split too; remove one of them")
    train.to_parquet(out / "train.parquet", index=False)
    held_out.to_parquet(out / "held_out.parquet", index=False)


def frame(rows: Iterator[Record], path: Path) -> pd.DataFrame:
    """Number the rows of one split and return them in the columns of the parquet file."""
    documents = [{"document": number, **row} for number, row in enumerate(rows)]
    if not documents:
        raise Fault(f"{path}: holds no records")
    return pd.DataFrame(documents, columns=COLUMNS)


def shortened(text: str, n_characters: int | None) -> str:
    """Return the whole lines that fit into `n_characters`, but at least the first line."""
    if n_characters is None or len(text) <= n_characters:
        return text
    end = text.rfind("\n", 0, n_characters) + 1
    return text[: end or text.find("\n") + 1]
