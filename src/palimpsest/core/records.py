"""JSON Lines of documents, sessions and questions → checked records; free of pandas and torch.

Planning checks the user's questions with it, so it must load fast.
"""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from palimpsest.faults import Fault

Record = dict[str, Any]


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
