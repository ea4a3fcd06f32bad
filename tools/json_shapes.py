"""JSON schemas of the types that commands print by: typed dictionaries, named tuples, dataclasses, structs.

What is named here once has one name in all documents; a type's fields are all that there are (`additionalProperties`).
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from collections.abc import Set as AnySet
from typing import Any

import msgspec

from fasttree.command.shapes import Later

Schema = dict[str, Any]

_PLAIN: Mapping[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
    Any: {},
}


class Schemas:
    """Of all types that were asked for, each of their own described once."""

    def __init__(self) -> None:
        self.defined: dict[str, Schema] = {}
        self._types: dict[str, Any] = {}

    def of(self, kind: Any) -> Schema:
        """Of any type. Raises TypeError where it has none."""
        if isinstance(kind, Later):
            kind = kind.find()
        if kind in _PLAIN:
            return dict(_PLAIN[kind])
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.Union, types.UnionType):
            return self._one_of([self.of(each) for each in arguments])
        if origin is typing.Literal:
            return {"enum": list(arguments)}
        if origin in (typing.Required, typing.NotRequired, typing.Annotated, typing.Final):
            return self.of(arguments[0])
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.of(arguments[1])}
        if isinstance(origin, type) and issubclass(origin, Sequence | AnySet):
            return {"type": "array", "items": self.of(arguments[0])}
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return {"enum": [each.value for each in kind]}
        return self._named(kind)

    @staticmethod
    def _one_of(schemas: list[Schema]) -> Schema:
        plain = [each["type"] for each in schemas if list(each) == ["type"]]
        if len(plain) == len(schemas):
            return {"type": plain}
        return {"anyOf": schemas}

    def _named(self, kind: Any) -> Schema:
        fields, required = _fields_of(kind)
        name = kind.__name__.lstrip("_").removesuffix("Json")
        if self._types.setdefault(name, kind) is not kind:
            raise TypeError(f"two types are called {name}: {self._types[name]} and {kind}")
        if name not in self.defined:
            self.defined[name] = {}  # it may have one of its own kind in it
            properties = {field: self.of(inner) for field, inner in fields.items()}
            said = (inspect.getdoc(kind) or "").partition("\n\n")[0]
            self.defined[name] = {
                "description": " ".join(said.split()),
                "type": "object",
                "properties": properties,
                "required": required,
                "additionalProperties": False,
            }
        return {"$ref": f"#/$defs/{name}"}


def _fields_of(kind: Any) -> tuple[dict[str, Any], list[str]]:
    """The types of a type's fields, and which of them are always there."""
    if typing.is_typeddict(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        # In 3.11 a type's own record of what may be missing is wrong where annotations are texts.
        may_miss = {name for name, inner in hints.items() if typing.get_origin(inner) is typing.NotRequired}
        return hints, [name for name in hints if name not in may_miss and kind.__total__]
    hints = typing.get_type_hints(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = msgspec.structs.fields(kind)
        omits = kind.__struct_config__.omit_defaults
        return {each.name: hints[each.name] for each in fields}, [
            each.name for each in fields if each.required or not omits
        ]
    if dataclasses.is_dataclass(kind):
        names = [each.name for each in dataclasses.fields(kind)]
    elif hasattr(kind, "_fields"):
        names = list(kind._fields)
    else:
        raise TypeError(f"{kind} is no type that a shape can be made of")
    return {name: hints[name] for name in names}, names
