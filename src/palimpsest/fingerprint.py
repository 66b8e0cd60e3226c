"""Source files → a hash blind to comments, docstrings and layout, on every Python version."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

SCOPES = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def digest(content: Any) -> str:
    """Return the short hash of plain JSON content: 12 hexadecimal digits."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def fingerprint(modules: Iterable[Path]) -> str:
    """Return one hash for several modules, named by their paths; of a template, every letter."""
    return digest({path.as_posix(): _of_file(path) for path in modules})


def _of_file(path: Path) -> str:
    text = path.read_text("utf-8")
    return of_source(text) if path.suffix == ".py" else hashlib.sha256(text.encode()).hexdigest()


@cache
def of_source(source: str) -> str:
    """Return the hash of one module's syntax tree, without docstrings."""
    return hashlib.sha256(repr(_plain(ast.parse(source))).encode()).hexdigest()[:16]


def _plain(node: Any) -> Any:
    """Turn a syntax tree into nested tuples of what is there.

    Absent fields are left out, so that a field which a later Python adds changes nothing.
    """
    if isinstance(node, list):
        return tuple(map(_plain, node))
    if not isinstance(node, ast.AST):
        return node
    if isinstance(node, ast.Constant):
        return ("Constant", type(node.value).__name__, repr(node.value))
    if isinstance(node, ast.JoinedStr):
        return ("JoinedStr", _merged(node.values))
    kind = type(node)
    body: list[Any] = [kind.__name__]
    for name in node._fields:
        value = getattr(node, name, None)
        if value is not None and value != []:
            documented = name == "body" and kind in SCOPES and _has_docstring(value)
            body.append((name, _plain(value[1:] if documented else value)))
    return tuple(body)


def _has_docstring(body: list[ast.stmt]) -> bool:
    first = body[0]
    value = first.value if isinstance(first, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _merged(values: list[ast.expr]) -> tuple[Any, ...]:
    """Join neighbouring texts of an f-string: Python versions cut them differently."""
    parts: list[Any] = []
    for value in values:
        if isinstance(value, ast.Constant) and parts and isinstance(parts[-1], str):
            parts[-1] += str(value.value)
        else:
            parts.append(str(value.value) if isinstance(value, ast.Constant) else _plain(value))
    return tuple(part for part in parts if part != "")
