"""Records of documents, sessions and questions → checked rows; free of pandas and torch.

Planning checks the user's questions with it, so it must load fast.
"""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from palimpsest.faults import Fault

Record = dict[str, Any]


def document_of(record: Record, column: str = "text") -> Record:
    """Read a document: its text, and a domain and a title where it has them, as in the Pile."""
    meta = record.get("meta") or {}
    meta = meta if isinstance(meta, dict) else {}
    domain = meta.get("pile_set_name") or record.get("domain") or "text"
    title = meta.get("title") or record.get("title") or ""
    return {"domain": text_in(domain), "title": str(title), "text": text_in(record[column])}


def session_of(record: Record, column: str = "text") -> Record:
    """Read an episode: turns as `SPEAKER: utterance` lines, or a document as it stands."""
    if "TURNS" in record:
        turns = sorted(record["TURNS"], key=lambda turn: int(turn["NUMBER"]))
        lines = [line for turn in turns if (line := crd3_line(turn))]
    elif "turns" in record:
        spoken = ((text_in(turn["speaker"]), text_in(turn["text"])) for turn in record["turns"])
        lines = [f"{speaker}: {text}\n" for speaker, text in spoken]
    elif "episode" in record and column not in record:
        raise ValueError("neither TURNS nor turns nor text")
    else:
        return document_of(record, column)
    return {"domain": "dnd", "title": text_in(record["episode"]), "text": text_in("".join(lines))}


def crd3_line(turn: Record) -> str:
    """Join a turn of CRD3, its speakers and its pieces of utterance; nothing if nobody speaks."""
    said = " ".join(part for piece in turn["UTTERANCES"] if (part := piece.strip()))
    names = ", ".join(name.strip() for name in turn["NAMES"] if name.strip())
    return f"{names}: {said}\n" if names and said else f"{said}\n" if said else ""


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
    return parsed_records(lines_of(path), parse)


def parsed_records(
    placed: Iterable[tuple[str, Record]], parse: Callable[[Record], Record]
) -> Iterator[Record]:
    """Yield `parse(record)` for each record; a wrong one is a Fault with its place."""
    for place, record in placed:
        try:
            yield parse(record)
        except KeyError as error:
            raise Fault(f"{place}: the record has no {error.args[0]!r}") from None
        except (AttributeError, TypeError, ValueError) as error:
            raise Fault(f"{place}: wrong record: {error}") from None


def lines_of(path: Path) -> Iterator[tuple[str, Record]]:
    """Yield the place and the content of each JSON line of a file."""
    number = 0
    try:
        with open_text(path) as lines:
            for line in lines:
                number += 1
                if line.strip():
                    yield f"{path}:{number}", _object(json.loads(line), f"{path}:{number}")
    except FileNotFoundError:
        raise Fault(f"{path}: no such file; see data/README.md for what ships with it") from None
    except json.JSONDecodeError as error:
        raise Fault(f"{path}:{number}: not JSON: {error.msg} at column {error.colno}") from None
    except (EOFError, OSError, UnicodeDecodeError, lzma.LZMAError) as error:
        raise Fault(f"{path}: cannot be read after line {number}: {error}") from None


def _object(content: Any, place: str) -> Record:
    if not isinstance(content, dict):
        raise Fault(f"{place}: expected an object {{…}} on each line, found {content!r:.40}")
    return content


def open_text(path: Path) -> TextIO:
    """Open a .jsonl, .jsonl.gz or .jsonl.xz file as UTF-8 text."""
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")
