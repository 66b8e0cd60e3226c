"""Files that params.yaml names → their content's hashes and sizes, for keys and costs."""

from __future__ import annotations

from functools import cache
from itertools import islice
from lzma import LZMAError
from pathlib import Path

from palimpsest import params as P
from palimpsest import store
from palimpsest.core.records import open_text, question_of, read_records
from palimpsest.core.stock import task_file
from palimpsest.faults import Fault

UNPACKED = 7.3  # bytes of text per byte of the xz files in data/


def hashes(files: list[Path]) -> dict[str, str]:
    """Return the content hash of each file by its path; folders have none."""
    return {file.as_posix(): content_hash(file) for file in files if not file.is_dir()}


@cache
def content_hash(file: Path) -> str:
    """Return a short hash of a file's content; read once per process."""
    try:
        return store.sha256(file)[:16]
    except FileNotFoundError:
        raise Fault(f"{file}: named in params.yaml, but there is no such file") from None


def files_of(path: Path) -> list[Path]:
    """Return a file, or all files of a folder in order."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file())


def n_bytes(section: P.Sessions | P.Documents) -> float:
    """Return about how much text for training a domain holds; 0 for what is to be fetched."""
    named = section.path or (section.train if isinstance(section, P.Documents) else None)
    files = files_of(Path(named)) if named else []
    return sum(
        (UNPACKED if file.suffix == ".xz" else 1) * file.stat().st_size
        for file in files
        if file.is_file()
    )


def check_enough(path: str | None, n_needed: int, place: str) -> None:
    """Refuse a source that surely holds fewer texts than are held out, with one to train on.

    What cannot be counted at once, such as a data set of `datasets`, is left to its stage.
    """
    n_found = _n_texts(Path(path), most=n_needed) if path else None
    if n_found is not None and n_found < n_needed:
        raise Fault(
            f"{place}: {path} holds {n_found} texts; give a number that leaves at least one to "
            "train on, or more text"
        )


def _n_texts(path: Path, *, most: int) -> int | None:
    """Return how many texts a local source holds, counted up to `most`; None if unknown."""
    if path.is_dir():
        return _n_texts_in_folder(path)
    if ".jsonl" not in path.suffixes:
        return None
    try:
        with open_text(path) as lines:
            return sum(1 for _ in islice((line for line in lines if line.strip()), most))
    except (EOFError, OSError, UnicodeDecodeError, LZMAError):
        return None  # the stage that reads it says what is wrong


def _n_texts_in_folder(folder: Path) -> int | None:
    from palimpsest.core.reading import EPISODE, TEXTS  # 0.3 s, which files alone need not wait

    files = files_of(folder)
    episodes = sum(EPISODE.fullmatch(file.name) is not None for file in files)
    if episodes or not all(file.suffix in TEXTS for file in files):
        return episodes or None
    return len(files)


def check_questions(path: Path) -> None:
    """Refuse questions that cannot be read, whether or not a phase asks them yet."""
    if not list(read_records(path, question_of)):
        raise Fault(f"{path}: holds no questions; give lines of {{question, answer}}")


def check_revisions(revisions: dict[str, str], stock: list[str]) -> None:
    """Refuse data of the hub that are not pinned, and a pin of what is not fetched."""
    for task in stock:
        if task not in revisions:
            raise Fault(
                f"evals.revisions: the data of {task} come from the hub; pin them: "
                f"`revisions: {{{task}: COMMIT}}`"
            )
    for task in revisions:
        if task not in stock:
            known = ", ".join(stock) or "none of evals.tasks"
            raise Fault(f"evals.revisions: {task} is not fetched from the hub; those are: {known}")


def task_files(folder: Path, tasks: tuple[str, ...]) -> list[Path]:
    """Return the files of a folder of tasks; Fault for a task that is nowhere."""
    if not folder.is_dir():
        raise Fault(f"{folder}: named in evals.task_dir, but there is no such folder")
    for task in tasks:
        if not (folder / f"{task}.yaml").is_file() and task_file(task) is None:
            known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
            raise Fault(
                f"evals.tasks: there is no {folder}/{task}.yaml and no such task in lm-eval; "
                f"known: {known}"
            )
    return sorted(folder.iterdir())
