"""Turns source files into tidy parquet (documents, sessions, questions), text into a tokenizer."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from palimpsest.faults import Fault

END_OF_TEXT = "<|endoftext|>"
COLUMNS = ["document", "domain", "title", "text"]

Record = dict[str, Any]


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


def document_of(record: Record) -> Record:
    """Read a document in the layout of the Pile; meta.title is ours and may be absent."""
    meta = record["meta"]
    domain, title = meta["pile_set_name"], meta.get("title", "")
    return {"domain": text_in(domain), "title": title, "text": text_in(record["text"])}


def session_of(record: Record) -> Record:
    """Join the turns of an episode, one `SPEAKER: utterance` line per turn."""
    lines = [f"{text_in(turn['speaker'])}: {text_in(turn['text'])}\n" for turn in record["turns"]]
    return {"domain": "dnd", "title": text_in(record["episode"]), "text": text_in("".join(lines))}


def question_of(record: Record) -> Record:
    """Read one question and its answer."""
    return {"question": text_in(record["question"]), "answer": text_in(record["answer"])}


def shortened(text: str, n_characters: int | None) -> str:
    """Return the whole lines that fit into `n_characters`, but at least the first line."""
    if n_characters is None or len(text) <= n_characters:
        return text
    end = text.rfind("\n", 0, n_characters) + 1
    return text[: end or text.find("\n") + 1]


def text_in(value: object) -> str:
    """Return the value if it is text that is not blank; ValueError otherwise."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected text, found {value!r:.40}")
    return value


def read_records(path: Path, parse: Callable[[Record], Record]) -> Iterator[Record]:
    """Yield `parse(record)` for each JSON line; a wrong line is a Fault with its number."""
    number = 0
    try:
        with open_text(path) as lines:
            for line in lines:
                number += 1
                if line.strip():
                    yield parse(json.loads(line))
    except FileNotFoundError:
        raise Fault(f"{path}: no such file; see data/README.md for what ships with it") from None
    except json.JSONDecodeError as error:
        raise Fault(f"{path}:{number}: not JSON: {error.msg} at column {error.colno}") from None
    except KeyError as error:
        raise Fault(f"{path}:{number}: the record has no {error.args[0]!r}") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise Fault(f"{path}:{number}: wrong record: {error}") from None
    except (EOFError, OSError, lzma.LZMAError) as error:
        raise Fault(f"{path}: cannot be read after line {number}: {error}") from None


def open_text(path: Path) -> TextIO:
    """Open a .jsonl, .jsonl.gz or .jsonl.xz file as UTF-8 text."""
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")
