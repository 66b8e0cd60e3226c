"""A published model's folder → its tokenizer as this program keeps it, and how two differ.

Like `models.py` it touches files: tokenizers are files.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from palimpsest.faults import Fault

# What decides how text becomes tokens; the rest of tokenizer.json is padding and truncation.
PARTS = ("normalizer", "pre_tokenizer", "added_tokens", "model")
FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def write_published(folder: Path, out: Path) -> None:
    """Copy a tokenizer; one that has no tokenizer.json is converted where transformers can."""
    if (folder / FILES[0]).is_file():
        for name in FILES:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, out / name)
    else:
        _convert(folder, out)
    end = end_of_text(out, folder)
    if Tokenizer.from_file(str(out / FILES[0])).token_to_id(end) is None:
        raise Fault(f"{folder}: the end token {end!r} is not in tokenizer.json")
    config = _read_json(out / FILES[1]) | {"eos_token": end}
    text = json.dumps(config, sort_keys=True, indent=1, ensure_ascii=False)
    (out / FILES[1]).write_text(text + "\n", "utf-8")


def _convert(folder: Path, out: Path) -> None:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        tokenizer.save_pretrained(out)
    except (OSError, ValueError, ImportError) as error:
        raise Fault(f"{folder}: no tokenizer to load: {' '.join(str(error).split())}") from None
    if not (out / FILES[0]).is_file():
        raise Fault(f"{folder}: its tokenizer has no tokenizer.json and cannot be converted to one")


def end_of_text(out: Path, folder: Path) -> str:
    """Return the end token that the tokenizer's files name, or config.json by its id."""
    for name in FILES[1:]:
        token = _read_json(out / name).get("eos_token")
        if token is not None:
            return str(token["content"] if isinstance(token, dict) else token)
    ids = _read_json(folder / "config.json").get("eos_token_id")
    first = ids[0] if isinstance(ids, list) else ids
    if first is None:
        raise Fault(f"{folder}: no eos_token in {FILES[1]} and no eos_token_id in config.json")
    return str(Tokenizer.from_file(str(out / FILES[0])).id_to_token(first))


def read_tokenizer(folder: Path) -> dict[str, Any]:
    """Return the parts of a folder's tokenizer that decide how it cuts text."""
    try:
        tokenizer = Tokenizer.from_file(str(folder / FILES[0]))
    except Exception as error:  # tokenizers raises nothing narrower
        raise Fault(f"{folder}/{FILES[0]}: no tokenizer: {error}") from None
    content = json.loads(tokenizer.to_str())
    return {part: content[part] for part in PARTS}


def entries_and_end(folder: Path) -> tuple[int, int]:
    """Return how many entries a tokenizer of this program has, and the number of its end token."""
    tokenizer = Tokenizer.from_file(str(folder / FILES[0]))
    end_token = tokenizer.token_to_id(str(_read_json(folder / FILES[1])["eos_token"]))
    assert end_token is not None  # write_published has looked
    return tokenizer.get_vocab_size(), end_token


def difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Say where two tokenizers first differ; nothing where they cut every text alike."""
    entries = [tokenizer["model"].get("vocab") for tokenizer in (one, other)]
    if all(isinstance(vocab, dict) for vocab in entries) and entries[0] != entries[1]:
        token = min(set(entries[0].items()) ^ set(entries[1].items()))[0]
        here, there = (vocab.get(token, "none") for vocab in entries)
        sizes = " and ".join(str(len(vocab)) for vocab in entries)
        return f"{sizes} entries; token {token!r} has number {here} and {there}"
    parts = [part for part in PARTS if one[part] != other[part]]
    return f"another {parts[0]} in tokenizer.json" if parts else ""


def _read_json(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text("utf-8"))) if file.is_file() else {}
