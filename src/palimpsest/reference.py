"""The typed parameters → docs/parameters.md, printed by `python -m palimpsest.reference`."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from palimpsest import params as P
from palimpsest.core.plug_ins import kinds, plug_in
from palimpsest.core.stops import Settings as Stop
from palimpsest.core.streams.replay import Ramp
from palimpsest.core.streams.settings import Stretch
from palimpsest.experiments import Ewc, Phase

NAMES = {int: "whole number", float: "number", str: "text", bool: "true or false"}
NAMES |= {NoneType: "null"}
PLUG_INS = (
    ("streams", "stream", "Settings"),
    ("policies", "policy", "Params"),
    ("edits", "phase", "Settings"),
)
HEAD = """# Parameters

Every field of `params.yaml`, made from the types that check it (`python -m palimpsest.reference`).
In an experiment, a field given as a list is an axis. `phase` holds the defaults of every phase; an
experiment says `model`, `seed`, `base_step` and what of a phase differs, or a list of `phases`.
A setting that nobody recorded may be `unknown`: `palimpsest plan` names its runs and leaves them
out.
"""


def text() -> str:
    """Return the whole page."""
    return "\n".join([HEAD, *_sections()]) + "\n"


def _sections() -> Iterator[str]:
    yield from _section("", P.Params)
    yield from _section("phase (and each experiment)", Phase)
    yield from _section("stop (in a phase)", Stop)
    yield from _section("ewc (in a phase)", Ewc)
    yield from _section("part (in a stream)", Stretch)
    yield from _section("replay_fraction (that changes)", Ramp)
    for package, what, name in PLUG_INS:
        for kind in kinds(package):
            model = getattr(plug_in(package, kind, package), name)
            yield from _section(f"{what} `{kind}`", model)


def _section(title: str, model: type[BaseModel]) -> Iterator[str]:
    fields = model.model_fields
    yield f"## {title or 'Sections'}\n\n{' '.join((model.__doc__ or '').split())}\n"
    yield "| field | type | default | meaning |\n|---|---|---|---|"
    for name, field in fields.items():
        default = "required" if field.default is PydanticUndefined else _shown(field.default)
        meaning = field.description or _first_sentence(field.annotation)
        yield f"| `{name}` | {_type(field.annotation)} | {default} | {meaning} |"
    yield ""
    for name, field in fields.items():
        for inner in _models(field.annotation):
            if inner.__module__ == P.__name__ and (model is P.Params or title.count(".") < 2):
                yield from _section(f"{title}.{name}" if title else name, inner)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _type(annotation: Any) -> str:
    """Return a type as a person writes it: `number`, `"a" or "b"`, `list of number`."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin is Annotated:
        return _type(inner[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_type(part) for part in inner))
    if origin is tuple:
        return f"list of {_type(inner[0])}"
    if annotation is dict or origin is dict or list(_models(annotation)):
        return "mapping"
    return NAMES.get(annotation, str(annotation))


def _shown(default: Any) -> str:
    return "see below" if isinstance(default, BaseModel) else f"`{default!r}`"


def _first_sentence(annotation: Any) -> str:
    return next(((m.__doc__ or "").split("\n")[0] for m in _models(annotation)), "")


if __name__ == "__main__":
    print(text(), end="")
