"""A plain dict → settings of a type, or a Fault of one line per mistake."""

from __future__ import annotations

import re
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from palimpsest.core.plug_ins import nearest
from palimpsest.faults import Fault

S = TypeVar("S", bound=BaseModel)
WORDS = {  # pydantic's names of faults, in a person's words
    "missing": "missing; docs/parameters.md says what belongs there",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "string_type": "expected text",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "tuple_type": "expected a list",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "too_short": "expected at least one",
}


def parse(model: type[S], values: dict[str, Any], where: str) -> S:
    """Validate one section against its type; a Fault says where it stands."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise Fault("\n".join(fault_lines(error, where, model))) from None


def fault_lines(
    error: ValidationError, where: str, model: type[BaseModel], joint: str = "."
) -> list[str]:
    """Return one line per mistake: where, what, and the nearest spelling of an unknown name."""
    lines: dict[str, str] = {}
    for fault in error.errors():
        place = ".".join(str(part) for part in fault["loc"] if not _is_branch(part))
        text = WORDS.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
        text = re.sub("^Input should be (?=greater|less)", "expected a number ", text)
        text = text.replace("Input should be", "expected")
        if fault["type"] == "extra_forbidden":
            text = "unknown key" + nearest(str(fault["loc"][-1]), _fields_at(model, fault["loc"]))
        elif fault["type"] != "missing":
            text += f" (got {fault['input']!r})"
        line = f"{where}{joint if place else ': '}{place}{': ' if place else ''}{text}"
        lines.setdefault(place, line)  # of several ways to read a value, the first one's fault
    return list(lines.values())


def _is_branch(part: int | str) -> bool:
    """Return whether a part of a place is pydantic's name for one way to read a value."""
    known = ("constrained-", "literal[", "function-")
    return isinstance(part, str) and (part[:1].isupper() or part.startswith(known))


def _fields_at(model: Any, place: tuple[int | str, ...]) -> list[str]:
    for part in place[:-1]:
        fields = getattr(model, "model_fields", {})
        if part in fields:
            model = _section_in(fields[str(part)].annotation)
    return list(getattr(model, "model_fields", {}))


def _section_in(annotation: Any) -> Any:
    """Return the section that a field holds: itself, or the one in `X | None`, `dict[str, X]`."""
    inside = (annotation, *get_args(annotation))
    return next((m for m in inside if isinstance(m, type) and issubclass(m, BaseModel)), None)
