"""Reads the character vectors of an R lazy-load database (.rdx index and .rdb store).

Format: R Internals, "Serialization Formats"; XDR layout, versions 2 and 3. Types that no text
data needs are refused.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from typing import Any

HAS_ATTRIBUTES, HAS_TAG = 0x200, 0x400
NIL, REFERENCE, SYMBOL, PAIRS, STRING = 254, 255, 1, 2, 9
LOGICALS, INTEGERS, REALS, STRINGS, LIST = 10, 13, 14, 16, 19


class Reader:
    """Walks once over a serialized R object."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 2
        self.symbols: list[Any] = []
        version = self.integers(3)[0]
        if version == 3:
            self.take(self.integer())  # the name of the native encoding

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        self.at += count
        return self.content[self.at - count : self.at]

    def integers(self, count: int) -> tuple[int, ...]:
        """Return the next `count` big-endian 32-bit integers."""
        return struct.unpack(f">{count}i", self.take(4 * count))

    def integer(self) -> int:
        """Return the next integer."""
        return self.integers(1)[0]

    def item(self) -> Any:
        """Return the next object: str, list, tuple of numbers, dict of a pair list, or None."""
        flags = self.integer()
        kind = flags & 0xFF
        if kind == NIL:
            return None
        if kind == REFERENCE:
            return self.symbols[(flags >> 8) - 1]
        if kind == SYMBOL:
            self.symbols.append(self.item())
            return self.symbols[-1]
        if kind == PAIRS:
            return self.pairs(flags)
        value = self.vector(kind)
        attributes = self.item() if flags & HAS_ATTRIBUTES else None
        names = attributes.get("names") if isinstance(attributes, dict) else None
        return dict(zip(names, value, strict=True)) if names else value

    def pairs(self, flags: int) -> dict[Any, Any]:
        """Return a pair list as a dict."""
        if flags & HAS_ATTRIBUTES:
            self.item()
        tag = self.item() if flags & HAS_TAG else None
        first = self.item()
        return {tag: first} | (self.item() or {})

    def vector(self, kind: int) -> Any:
        """Return a vector of the given kind."""
        count = self.integer()
        if kind == STRING:
            return None if count == -1 else self.take(count).decode("utf-8")
        if kind in (STRINGS, LIST):
            return [self.item() for _ in range(count)]
        if kind in (LOGICALS, INTEGERS):
            return self.integers(count)
        if kind == REALS:
            return struct.unpack(f">{count}d", self.take(8 * count))
        raise ValueError(f"R type {kind} is not read here")


def read_lazy_database(index: bytes, store: bytes) -> dict[str, list[str]]:
    """Return the variables of the database that are character vectors."""
    variables = Reader(zlib.decompress(index, wbits=47)).item()["variables"]
    return {
        name: Reader(unpack(store[offset : offset + length])).item()
        for name, (offset, length) in variables.items()
    }


def unpack(chunk: bytes) -> bytes:
    """Decompress one entry: four bytes of size, a letter for bzip2 or xz, or none for zlib."""
    if chunk[4:5] == b"2":
        return bz2.decompress(chunk[5:])
    if chunk[4:5] == b"Z":
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 6}]
        return lzma.decompress(chunk[5:], format=lzma.FORMAT_RAW, filters=filters)
    return zlib.decompress(chunk[4:])
