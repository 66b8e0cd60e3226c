"""Opens the packages that sources.py reads: member name to bytes, without unpacking to disk."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

AR_MAGIC = b"!<arch>\n"
AR_HEADER = 60  # bytes; the member's size stands in decimal at 48..58


def one_package(folder: Path, start: str) -> Path:
    """Return the one file of the folder whose name starts so; exit with a line if it is missing."""
    found = sorted(folder.glob(f"{start}*"))
    if len(found) != 1:
        raise SystemExit(f"{folder}: {len(found)} files start with {start!r}, need exactly 1")
    return found[0]


def npm_members(path: Path, under: str) -> dict[str, bytes]:
    """Read the files of an npm package whose path starts with `under`."""
    return tar_members(tarfile.open(path), under)


def deb_members(path: Path, under: str) -> dict[str, bytes]:
    """Read the files of a Debian package whose path starts with `under`."""
    content = path.read_bytes()
    if not content.startswith(AR_MAGIC):
        raise SystemExit(f"{path}: not a Debian package")
    start = len(AR_MAGIC)
    while start < len(content):
        name = content[start : start + 16].decode().strip()
        size = int(content[start + 48 : start + 58])
        body = content[start + AR_HEADER : start + AR_HEADER + size]
        if name.startswith("data.tar"):
            return tar_members(tarfile.open(fileobj=io.BytesIO(body)), under)
        start += AR_HEADER + size + size % 2
    raise SystemExit(f"{path}: holds no data.tar")


def tar_members(archive: tarfile.TarFile, under: str) -> dict[str, bytes]:
    """Read the plain files under a path, by name; a leading "./" is dropped."""
    members = {}
    for member in archive:
        name = member.name.removeprefix("./")
        if member.isfile() and name.startswith(under):
            file = archive.extractfile(member)
            assert file is not None  # isfile() was asked
            members[name] = file.read()
    return dict(sorted(members.items()))
