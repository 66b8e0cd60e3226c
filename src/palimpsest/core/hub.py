"""A repository at a revision → its files on this disk and the commit they belong to.

Like `models.py` it touches files: the stages that fetch need it. Every fault says in one line what
is missing and how to get it.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from httpx2 import TransportError  # what the hub's client raises without a network
from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from palimpsest.faults import Fault

UNREACHED = (LocalEntryNotFoundError, ConnectionError, TransportError)
REFUSALS = (HfHubHTTPError, *UNREACHED)
CONFIGS = ("config.json", "generation_config.json")
SAFETENSORS = ("model*.safetensors", "model.safetensors.index.json")
PICKLES = ("pytorch_model*.bin", "pytorch_model.bin.index.json")
TOKENIZER = (
    *("config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.*", "merges.txt", "spiece.model"),
)


def fetch(repo: str, revision: str, *, kind: str, patterns: tuple[str, ...]) -> Path:
    """Return the snapshot folder of a repository's files that match; its name is the commit.

    kind: "model" or "dataset". What lies in the hub cache is not fetched again.
    """
    with faults(repo, revision, kind=kind, patterns=patterns):
        folder = snapshot_download(
            repo, revision=revision, repo_type=kind, allow_patterns=list(patterns)
        )
    return Path(folder)


def model_files(spec: dict[str, Any]) -> tuple[Path, str | None]:
    """Return the folder of a model's config and weights, and its commit; of a local folder none.

    spec: repo and revision, or path. Safetensors are preferred; older repositories have none.
    """
    if "path" in spec:
        return Path(spec["path"]), None
    place = (spec["repo"], spec["revision"])
    folder = fetch(*place, kind="model", patterns=CONFIGS + SAFETENSORS)
    if not any(folder.glob(SAFETENSORS[0])):
        folder = fetch(*place, kind="model", patterns=CONFIGS + PICKLES)
    return folder, folder.name


def tokenizer_files(spec: dict[str, Any]) -> tuple[Path, str | None]:
    """Return the folder of a model's tokenizer, and its commit; of a local folder none."""
    if "path" in spec:
        return Path(spec["path"]), None
    folder = fetch(spec["repo"], spec["revision"], kind="model", patterns=TOKENIZER)
    return folder, folder.name


def commit_of(repo: str, revision: str, *, kind: str) -> str:
    """Return the commit that a revision names at the hub now."""
    with faults(repo, revision, kind=kind):
        return str(HfApi().repo_info(repo, revision=revision, repo_type=kind).sha)


def fetch_archive(archive: dict[str, str], out: Path) -> None:
    """Write one folder of a zip archive with all below it; `archive`: url, and folder inside it.

    The first part of each path, which GitHub names by the commit, is left out.
    """
    url, folder = archive["url"], archive["folder"].strip("/") + "/"
    if offline():
        raise Fault(f"{url}: HF_HUB_OFFLINE is set; run this stage with HF_HUB_OFFLINE=0")
    try:
        with tempfile.TemporaryFile() as file:
            with urllib.request.urlopen(url, timeout=60) as answer:
                shutil.copyfileobj(answer, file)
            _unpack(zipfile.ZipFile(file), folder, out)
    except (OSError, zipfile.BadZipFile) as error:
        raise Fault(
            f"{url}: cannot be fetched ({error}); fetch and unpack it elsewhere, put its folder "
            f"{folder} below data/ and name it as path instead of archive"
        ) from None
    if not any(out.iterdir()):
        raise Fault(f"{url}: holds no folder {folder}")


def _unpack(archive: zipfile.ZipFile, folder: str, out: Path) -> None:
    for name in archive.namelist():
        inside = name.partition("/")[2]
        if not inside.startswith(folder) or name.endswith("/"):
            continue
        target = out / inside.removeprefix(folder)
        if ".." in target.parts:
            raise Fault(f"{name}, in the archive, leads out of its folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(archive.read(name))


def offline() -> bool:
    """Return whether HF_HUB_OFFLINE forbids every request."""
    return bool(constants.HF_HUB_OFFLINE)


def refusal(error: BaseException) -> Exception | None:
    """Return the hub's own, or the network's, error behind another; None where there is none.

    `datasets` wraps them: a gated repository comes as one that is not found.
    """
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, REFUSALS):
        behind = behind.__cause__
    return behind


@contextlib.contextmanager
def faults(
    repo: str, revision: str, *, kind: str, patterns: tuple[str, ...] = ()
) -> Iterator[None]:
    """Turn what the hub refuses into one line: what, and what to do about it."""
    what = f"{repo}@{revision}"
    page = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repo}"
    try:
        yield
    except GatedRepoError:
        raise Fault(
            f"{what}: gated; accept its terms at {page} and set HF_TOKEN to a token of yours"
        ) from None
    except RevisionNotFoundError:
        raise Fault(f"{what}: no such revision; {page}/tree/main lists its branches") from None
    except RepositoryNotFoundError:
        raise Fault(
            f"{what}: no such {kind} at {page}, or a private one; check the name, or set HF_TOKEN"
        ) from None
    except UNREACHED:
        raise Fault(_missing(repo, revision, kind=kind, patterns=patterns)) from None
    except HfHubHTTPError as error:
        raise Fault(f"{what}: the hub refuses: {' '.join(str(error).split())[:200]}") from None


def _missing(repo: str, revision: str, *, kind: str, patterns: tuple[str, ...]) -> str:
    """Say what is not in the hub cache and the command that brings it there."""
    why = "HF_HUB_OFFLINE is set" if offline() else "the hub cannot be reached"
    chosen = "".join(f" --include '{pattern}'" for pattern in patterns)
    of_type = " --repo-type dataset" if kind == "dataset" else ""
    return (
        f"{repo}@{revision}: not in {constants.HF_HUB_CACHE} and {why}; on a machine with network "
        f"run this stage with HF_HUB_OFFLINE=0, or: hf download {repo}{of_type} "
        f"--revision {revision}{chosen}"
    )
