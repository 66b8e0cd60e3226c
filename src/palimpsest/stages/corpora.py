"""Turns source files into tidy parquet (documents, sessions, questions), text into a tokenizer."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from palimpsest.core.hub import tokenizer_files
from palimpsest.core.reading import of_hub, of_path, records
from palimpsest.core.records import Record, document_of, parsed_records, question_of, session_of
from palimpsest.core.stock import write_task
from palimpsest.core.tokenizers import difference, read_tokenizer, write_published
from palimpsest.faults import Fault
from palimpsest.progress import step_done

END_OF_TEXT = "<|endoftext|>"
COLUMNS = ["document", "domain", "title", "text"]


def build(spec: Record, inputs: dict[str, Any], out: Path) -> None:
    """Write the artifact that `spec["kind"]` names: documents, sessions, questions or tokenizer."""
    if spec["kind"] == "documents":
        write_documents(spec, out)
    elif spec["kind"] == "sessions":
        write_sessions(spec, out)
    elif spec["kind"] == "questions":
        write_questions(spec, out)
    elif spec["kind"] == "tokenizer":
        train_tokenizer(spec, inputs["original"], out)
    elif spec["kind"] == "published-tokenizer":
        take_tokenizer(spec, out)
    elif spec["kind"] == "same-tokenizer":
        check_tokenizer(spec, inputs["tokenizer"], out)
    elif spec["kind"] == "benchmark":
        take_benchmark(spec, out)
    else:
        raise Fault(f"corpora: no kind {spec['kind']!r}")


def write_documents(spec: Record, out: Path) -> None:
    """Write both splits of a corpus of documents.

    spec: `train` and `held_out`, two files, of which `max_documents` keeps the first ones; or one
    source (path or dataset) whose first `held_out_documents` are held out, `max_documents` of the
    following are for training, and a text that was held out does not come again.
    """
    parse = partial(document_of, column=spec.get("text_column", "text"))
    if "train" not in spec:
        divide(spec, parse, out)
        return
    splits = []
    for split in ("train", "held_out"):
        path = Path(spec[split])
        parsed = parsed_records(of_path(path), parse)
        splits.append(frame(islice(parsed, spec.get("max_documents")), str(path)))
    write_splits(train=splits[0], held_out=splits[1], out=out)


def divide(spec: Record, parse: Callable[[Record], Record], out: Path) -> None:
    """Write the first documents of one source as held out, others as training text."""
    placed, commit = records(spec)
    column = spec.get("text_column", "text")
    filled = ((at, one) for at, one in placed if str(one.get(column, "-")).strip())
    documents = parsed_records(filled, parse)
    n_held_out, most = spec["held_out_documents"], spec.get("max_documents")
    held_out = list(islice(documents, n_held_out))
    known = {row["text"] for row in held_out}
    others = (row for row in documents if row["text"] not in known)
    train = list(counted(islice(others, most), total=most))
    if len(held_out) < n_held_out or len(train) < (most or 1):
        raise Fault(
            f"{named(spec)}: {len(held_out) + len(train)} different documents; "
            f"held_out_documents {n_held_out} and max_documents {most or 'at least 1'} ask for more"
        )
    source = named(spec)
    write_splits(train=frame(train, source), held_out=frame(held_out, source), out=out)
    write_json({**spec, "commit": commit}, out / "origin.json")


def counted(rows: Iterator[Record], *, total: int | None) -> Iterator[Record]:
    """Pass rows on and show how many have come."""
    for number, row in enumerate(rows, start=1):
        yield row
        step_done(number, total or number, "document")


def write_sessions(spec: Record, out: Path) -> None:
    """Write the new domain in time order; the last `held_out_episodes` are the held-out split.

    spec: path or dataset. `episode_characters`, if given, shortens each training episode to its
    first whole lines, so that a small study still passes through all of the story.
    """
    placed, commit = records(spec)
    parse = partial(session_of, column=spec.get("text_column", "text"))
    n_held_out, source = spec["held_out_episodes"], named(spec)
    sessions = frame(parsed_records(placed, parse), source)
    n_train = len(sessions) - n_held_out
    if n_held_out < 1 or n_train < 1:
        raise Fault(
            f"{source}: held_out_episodes is {n_held_out}, it has {len(sessions)} episodes; "
            "give a number that leaves at least one on each side"
        )
    most = spec.get("episode_characters")
    train = sessions.iloc[:n_train]
    train = train.assign(text=[shortened(text, most) for text in train["text"]])
    held_out = sessions.iloc[n_train:].assign(document=range(n_held_out))
    write_splits(train=train, held_out=held_out, out=out)
    if commit:
        write_json({**spec, "commit": commit}, out / "origin.json")


def write_questions(spec: Record, out: Path) -> None:
    """Write the question and answer pairs in the order of the file."""
    path = Path(spec["path"])
    rows = parsed_records(of_path(path), question_of)
    questions = pd.DataFrame(rows, columns=["question", "answer"])
    if questions.empty:
        raise Fault(f"{path}: holds no records")
    questions.to_parquet(out / "questions.parquet", index=False)


def train_tokenizer(spec: Record, original: Path, out: Path) -> None:
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
    write_json(config, out / "tokenizer_config.json")


def take_tokenizer(spec: Record, out: Path) -> None:
    """Write the tokenizer of a published model (spec: repo and revision, or path)."""
    folder, commit = tokenizer_files(spec)
    write_published(folder, out)
    write_json({**spec, "commit": commit}, out / "origin.json")


def check_tokenizer(spec: Record, tokenizer: Path, out: Path) -> None:
    """Write that a published model has the study's tokenizer; a Fault names the first difference.

    Losses of models are compared token by token, so that all must cut text alike.
    """
    folder, commit = tokenizer_files(spec)
    with tempfile.TemporaryDirectory() as own:
        write_published(folder, Path(own))
        found = difference(read_tokenizer(Path(own)), read_tokenizer(tokenizer))
    if found:
        name = spec.get("repo") or spec["path"]
        raise Fault(
            f"{name}: another tokenizer than the study's ({found}); "
            "models with different tokenizers need studies of their own"
        )
    write_json({**spec, "commit": commit}, out / "origin.json")


def take_benchmark(spec: Record, out: Path) -> None:
    """Write a task that comes with lm-eval, and its data from the hub (spec: task, revision)."""
    commits = {}

    def rows_of(repo: str, config: str | None, split: str) -> list[Record]:
        pinned = {"repo": repo, "revision": spec["revision"]}
        placed, commits[split] = of_hub(pinned | {"config": config, "split": split})
        return [row for _, row in placed]

    origin = write_task(spec["task"], out, rows_of)
    write_json({**spec, **origin, "commits": commits}, out / "origin.json")


def write_splits(*, train: pd.DataFrame, held_out: pd.DataFrame, out: Path) -> None:
    """Write train.parquet and held_out.parquet; a text that stands in both is refused."""
    shared = held_out["text"].isin(set(train["text"]))
    if shared.any():
        number = held_out.loc[shared, "document"].iloc[0]
        raise Fault(f"held-out document {number} is in the training split too; remove one of them")
    train.to_parquet(out / "train.parquet", index=False)
    held_out.to_parquet(out / "held_out.parquet", index=False)


def write_json(content: Record, file: Path) -> None:
    """Write JSON with sorted keys."""
    file.write_text(json.dumps(content, sort_keys=True, indent=1) + "\n", encoding="utf-8")


def named(spec: Record) -> str:
    """Name a source as a person knows it."""
    if "archive" in spec:
        return str(spec["archive"]["url"])
    return str(spec["dataset"]["repo"] if "dataset" in spec else spec["path"])


def frame(rows: Iterable[Record], source: str) -> pd.DataFrame:
    """Number the rows of one split and return them in the columns of the parquet file."""
    documents = [{"document": number, **row} for number, row in enumerate(rows)]
    if not documents:
        raise Fault(f"{source}: holds no records")
    return pd.DataFrame(documents, columns=COLUMNS)


def shortened(text: str, n_characters: int | None) -> str:
    """Return the whole lines that fit into `n_characters`, but at least the first line."""
    if n_characters is None or len(text) <= n_characters:
        return text
    end = text.rfind("\n", 0, n_characters) + 1
    return text[: end or text.find("\n") + 1]
