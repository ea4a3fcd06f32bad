"""Events and actions as text: `NodeUp a:1 import_id=3`, made and read by the fields of their dataclasses.

A value stands at its field's place, or behind `name=`. The fields of a dataclass within stand in its place, as if they
were the outer one's own; settings count as dataclasses. Values by type:

    text          as it is; in double quotes where it holds blanks
    bool          yes, no
    enum          its name, in small letters
    tuple         a,b,c
    run of ints   1..3 for a range, else like a tuple
    within tuples 7:held for a tuple or dataclass of several fields
    nothing       - for None, an empty text, and an empty tuple
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import msgspec

NOTHING = "-"

T = TypeVar("T")


class UnreadableError(Exception):
    """A line that no event can be made of: the line's own fault."""


def read(words: Sequence[str], kind: type[T], defaults: T | None = None) -> T:
    """An object of a dataclass from its words; what they leave out is as in `defaults`, or as the class has it."""
    names = list(_flat_names(kind))
    given: dict[str, str] = {}
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if not (equals and name in names):
            name, value = names[place] if place < len(names) else "", word
        if not name or name in given:
            raise UnreadableError(f"{kind.__name__} has no place for {word!r}: its fields are {', '.join(names)}")
        given[name] = value
    return _build(kind, given, defaults)


def _flat_names(kind: type[Any]) -> Iterator[str]:
    hints = get_type_hints(kind)
    for name in _defaults(kind):
        if _is_record(hints[name]):
            yield from _flat_names(hints[name])
        else:
            yield name


def _build(kind: type[T], given: Mapping[str, str], defaults: T | None) -> T:
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, default in _defaults(kind).items():
        hint = hints[name]
        if _is_record(hint):
            inner = default if defaults is None else getattr(defaults, name)
            values[name] = _build(cast(type[Any], hint), given, inner)
        elif name in given:
            values[name] = read_value(given[name], hint)
        elif defaults is not None:
            values[name] = getattr(defaults, name)
    try:
        return kind(**values)
    except TypeError as error:
        raise UnreadableError(f"{kind.__name__}: {error}") from error


def _is_record(what: Any) -> bool:
    """Whether it is a dataclass or settings, or one of their objects."""
    kind = what if isinstance(what, type) else type(what)
    return dataclasses.is_dataclass(kind) or issubclass(kind, msgspec.Struct)


def _defaults(what: Any) -> dict[str, Any]:
    """The fields of a record and what they are where nothing is said; None where they have no default."""
    if dataclasses.is_dataclass(what):
        fields: Iterator[Any] = iter(dataclasses.fields(what))
    else:
        fields = iter(msgspec.structs.fields(what))
    missing = (dataclasses.MISSING, msgspec.NODEFAULT)
    return {
        field.name: field.default
        if field.default not in missing
        else None
        if field.default_factory in missing
        else field.default_factory()
        for field in fields
    }


def read_value(text: str, hint: Any) -> Any:
    """A value of this type from its text."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if text == NOTHING and type(None) in inner:
            return None
        return read_value(text, next(each for each in inner if each is not type(None)))
    if origin is tuple and inner[1:] != (...,):
        return tuple(read_value(part, each) for part, each in zip(text.split(":"), inner, strict=True))
    if origin is not None and issubclass(origin, Sequence):
        return _read_run(text, inner[0])
    if _is_record(hint):
        return read(text.split(":"), cast(type[Any], hint))
    if issubclass(hint, Enum):
        return hint[text.upper()]
    if hint is bool:
        return {"yes": True, "no": False}[text]
    return hint("" if hint is str and text == NOTHING else text)


def _read_run(text: str, hint: Any) -> Sequence[Any]:
    if text == NOTHING:
        return ()
    first, dots, last = text.partition("..")
    if dots and hint is int:
        return range(int(first), int(last) + 1)
    return tuple(read_value(part, hint) for part in text.split(","))


def write(what: object) -> str:
    """An event or an action as text; fields that are as by default are left out."""
    if isinstance(what, Enum):
        return what.name.lower()
    return " ".join([type(what).__name__, *_written_fields(what)])


def _written_fields(what: object) -> Iterator[str]:
    for name, default in _defaults(what).items():
        value = getattr(what, name)
        if value == default and default is not None:
            continue
        if _is_record(value):
            yield from _written_fields(value)
        else:
            yield f"{name}={write_value(value)}"


def write_value(value: object) -> str:
    """A value as text, such that `read_value` makes the same of it."""
    match value:
        case None | "" | ():
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case Enum():
            return value.name.lower()
        case float():
            return f"{round(value, 6):.6f}".rstrip("0").rstrip(".")
        case str():
            return json.dumps(value, ensure_ascii=False) if set(value) & set(' "') else value
        case range():
            return f"{value.start}..{value.stop - 1}" if value else NOTHING
        case tuple() | list():
            return ",".join(_written_part(each) for each in value)
    return str(value)


def _written_part(value: object) -> str:
    if _is_record(value):
        value = tuple(getattr(value, name) for name in _defaults(value))
    return ":".join(map(write_value, value)) if isinstance(value, tuple) else write_value(value)
