import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from palimpsest.faults import Fault
from palimpsest.stages import tokens

END = "<|endoftext|>"
VOCABULARY = {END: 0, "the": 1, "salt": 2, "bell": 3, "?": 4, "Question": 5, ":": 6, "Answer": 7}


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """A folder with a tokenizer that has one token for each word above."""
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    words = Tokenizer(models.WordLevel({**VOCABULARY, "<unk>": 8}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.add_special_tokens([END])
    words.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": END}))
    return folder


def corpus(folder: Path, texts: list[str]) -> Path:
    folder.mkdir()
    numbers = range(len(texts))
    frame = pd.DataFrame({"document": numbers, "domain": "x", "title": "", "text": texts})
    for split in ("train", "held_out"):
        frame.to_parquet(folder / f"{split}.parquet", index=False)
    return folder


def build(tmp_path: Path, kind: str, **inputs: Path) -> Path:
    out = tmp_path / "out"
    out.mkdir()
    tokens.build({"kind": kind}, inputs, out)
    return out


def test_each_document_is_followed_by_the_end_token(tmp_path: Path, tokenizer: Path) -> None:
    text = corpus(tmp_path / "text", ["the salt bell", "bell"])
    out = build(tmp_path, "text", text=text, tokenizer=tokenizer)
    flat = np.load(out / "train.npy", mmap_mode="r")
    assert flat.dtype == np.uint16
    assert flat.tolist() == [1, 2, 3, 0, 3, 0]
    table = pd.read_parquet(out / "train_documents.parquet")
    assert table.to_dict("list") == {
        "document": [0, 1],
        "domain": ["x", "x"],
        "start_token": [0, 4],
        "n_tokens": [4, 2],
        "n_bytes": [13, 4],
    }
    assert (out / "held_out.npy").read_bytes() == (out / "train.npy").read_bytes()


def test_bytes_are_counted_not_characters(tmp_path: Path, tokenizer: Path) -> None:
    out = build(tmp_path, "text", text=corpus(tmp_path / "text", ["é"]), tokenizer=tokenizer)
    assert pd.read_parquet(out / "train_documents.parquet")["n_bytes"].tolist() == [2]


def test_a_quoted_end_token_does_not_end_a_document(tmp_path: Path, tokenizer: Path) -> None:
    text = corpus(tmp_path / "text", [f"the {END} bell"])
    out = build(tmp_path, "text", text=text, tokenizer=tokenizer)
    assert np.flatnonzero(np.load(out / "train.npy") == 0).tolist() == [
        len(np.load(out / "train.npy")) - 1
    ]


def test_questions_become_prompt_and_answer(tmp_path: Path, tokenizer: Path) -> None:
    questions = tmp_path / "questions"
    questions.mkdir()
    pairs = pd.DataFrame({"question": ["the bell?"], "answer": ["salt bell"]})
    pairs.to_parquet(questions / "questions.parquet", index=False)
    out = build(tmp_path, "questions", questions=questions, tokenizer=tokenizer)
    row = pd.read_parquet(out / "questions.parquet").iloc[0]
    assert row["question_ids"].tolist() == [5, 6, 1, 3, 4, 7, 6]  # Question: the bell? Answer:
    assert row["answer_ids"].tolist() == [2, 3]


def test_an_end_token_that_is_missing_is_named(tmp_path: Path, tokenizer: Path) -> None:
    (tokenizer / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    with pytest.raises(Fault, match="the end token '</s>' is not in"):
        build(tmp_path, "text", text=corpus(tmp_path / "text", ["a"]), tokenizer=tokenizer)


@pytest.mark.parametrize(("size", "n_bytes"), [(2048, 2), (65535, 2), (65536, 4), (100_000, 4)])
def test_the_type_fits_the_vocabulary(size: int, n_bytes: int) -> None:
    assert np.dtype(tokens.token_dtype(size)).itemsize == n_bytes


def test_an_unknown_kind_is_refused(tmp_path: Path, tokenizer: Path) -> None:
    with pytest.raises(Fault, match="no kind 'poems'"):
        build(tmp_path, "poems", tokenizer=tokenizer)
