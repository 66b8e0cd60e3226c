"""What DVC holds: the artifacts that some commit's dvc.lock names, file by file, and their bytes.

An artifact may be deleted here only if it can come back from there.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from palimpsest import store
from palimpsest.faults import Fault

LOCK = "dvc.lock"
Files = dict[str, str]  # path inside the artifact → MD5 of the content
Named = dict[tuple[str, str], list[Files]]  # (stage, name) → every set of files that it had


class Vault:
    """The cache of this project and the default remote, if there is one."""

    def __init__(self) -> None:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        try:
            self._repo = Repo()
        except DvcException as error:
            raise Fault(f"DVC: {error}; run this in the project's root") from None

    def named_by(self, *revisions: str, today: bool = False) -> Named:
        """Return the artifacts that the dvc.lock of some commits names; without any, of all.

        `today` adds the file as it stands, committed or not.
        """
        named: Named = {}
        texts = [*_locks(revisions), *([Path(LOCK).read_text("utf-8")] if today else [])]
        for stage, tree in sorted({pair for text in texts for pair in _outs(text)}):
            for name, files in self._artifacts(tree).items():
                known = named.setdefault((stage, name), [])
                known += [files] if files not in known else []
        return named

    def lacks(self, contents: Iterable[str]) -> set[str]:
        """Return those contents that are neither in the cache nor on the remote."""
        asked = set(contents)
        missing = asked - set(self._cache.oids_exist(asked))
        if missing:
            with self._asking_the_remote():
                if remote := self.remote():
                    missing -= set(remote.oids_exist(missing))
        return missing

    def fetch(self, contents: Iterable[str]) -> None:
        """Bring contents from the remote into the cache, where the cache lacks them."""
        from dvc_data.hashfile.hash_info import HashInfo

        asked = set(contents)
        missing = asked - set(self._cache.oids_exist(asked))
        if not missing:
            return
        with self._asking_the_remote():
            if remote := self.remote():
                hashes = {HashInfo("md5", content) for content in missing}
                self._repo.cloud.pull(hashes, odb=remote)

    def copy(self, content: str, target: Path) -> None:
        """Write a content of the cache as a file of its own, sharing blocks where the disk can."""
        from dvc_objects.fs.generic import transfer

        target.parent.mkdir(parents=True, exist_ok=True)
        local = self._cache.fs
        source = self._cache.oid_to_path(content)
        transfer(local, source, local, str(target.resolve()), links=["reflink", "copy"])
        target.chmod(0o644)  # the cache's own files are read-only

    def remote(self) -> Any:
        """Return the default remote's store of contents; None if the project has none."""
        from dvc.config import NoRemoteError

        try:
            return self._repo.cloud.get_remote_odb()
        except NoRemoteError:
            return None

    @contextlib.contextmanager
    def _asking_the_remote(self) -> Iterator[None]:
        """Turn whatever keeps the default remote from answering into one line."""
        try:
            yield
        except Exception as error:  # each kind of remote raises what its own library raises
            name = self._repo.config["core"].get("remote")
            url = self._repo.config["remote"].get(name, {}).get("url", "no address")
            said = " ".join(str(error).split())[:200] or type(error).__name__
            raise Fault(
                f"DVC remote {name} ({url}): {said}; mend it, or name another: "
                "`dvc remote list`, `dvc remote default NAME`; to do without: "
                "`dvc remote default --unset`"
            ) from None

    @cached_property
    def _cache(self) -> Any:
        return self._repo.cache.local

    def _artifacts(self, tree: str) -> dict[str, Files]:
        """Return name → files of a recorded folder; nothing if that record is nowhere."""
        self.fetch([tree])
        path = Path(self._cache.oid_to_path(tree))
        artifacts: dict[str, Files] = {}
        for entry in store.read_json(path) if path.exists() else []:
            name, _, file = entry["relpath"].partition("/")
            if file:  # others lie beside the artifacts: the index
                artifacts.setdefault(name, {})[file] = entry["md5"]
        return artifacts


def contents(folder: Path) -> Files:
    """Return what lies in a folder as DVC would record it: an MD5 for each file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _md5(path) for path in files}


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _outs(lock: str) -> Iterator[tuple[str, str]]:
    """Yield (stage, recorded folder) of a dvc.lock's outputs under runs/."""
    for stage in (yaml.safe_load(lock) or {}).get("stages", {}).values():
        for out in stage.get("outs", []):
            parts = Path(out["path"]).parts
            if parts[0] == store.RUNS.name and "md5" in out:
                yield parts[1], out["md5"]


def _locks(revisions: tuple[str, ...]) -> Iterator[str]:
    """Yield the text of dvc.lock at some commits; without any, at every commit."""
    for revision in revisions:
        if not _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", may_fail=True):
            raise Fault(f"{revision}: no such commit, tag or branch; see `git log --oneline`")
        text = _git("show", f"{revision}:./{LOCK}", may_fail=True)
        if not text:
            raise Fault(f"{revision}: has no {LOCK}; see `git log --oneline -- {LOCK}`")
        yield text
    if revisions:
        return
    for commit in _git("log", "--all", "--format=%H", "--", LOCK).split():
        yield _git("show", f"{commit}:./{LOCK}", may_fail=True)  # empty where it was removed


def _git(*arguments: str, may_fail: bool = False) -> str:
    """Return what git prints; where it may fail, nothing then."""
    if not shutil.which("git"):
        raise Fault("git: not installed; DVC's history is in it")
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    if done.returncode and not may_fail:
        raise Fault(f"git {' '.join(arguments)}: {done.stderr.strip().splitlines()[0]}")
    return done.stdout
