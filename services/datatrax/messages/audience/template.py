"""A message's text: a template with columns of the member in it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from typing import Final

from fasttree.client import from_hundredths
from fasttree.v1 import types_pb2
from services.shared.domain.sentences import quoted

TEMPLATE_LENGTH_MAX: Final = 4_096
TEXT_LENGTH_MAX: Final = 10_000
_HUNDREDTHS: Final = "_hundredths"
_KIND: Final = "MEMBER_KIND_"
_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")

#: Columns that every member has, and the fields of `Member` that they are.
OWN_COLUMNS: Final = {
    field.name.removesuffix(_HUNDREDTHS): field.name
    for field in types_pb2.Member.DESCRIPTOR.fields
    if field.name not in ("volumes", "columns")
}


class TemplateError(ValueError):
    """A template that can't be: one line with the place and the mend."""


class Template:
    """A text with places in it. Raises TemplateError."""

    def __init__(self, text: str) -> None:
        if not 1 <= len(text) <= TEMPLATE_LENGTH_MAX:
            raise TemplateError(f"the template has {len(text):,} characters: write 1 to {TEMPLATE_LENGTH_MAX:,}")
        #: Texts and columns in turn, a text first.
        self._parts: list[str] = [""]
        end = 0
        for found in _PART.finditer(text):
            between, end = text[end : found.start()], found.end()
            self._parts[-1] += between
            if found[0] in ("{{", "}}"):
                self._parts[-1] += found[0][0]
            elif found[1] is None:
                raise TemplateError(
                    f"character {found.start() + 1}: {found[0]} is alone: write {found[0] * 2} for a brace, or "
                    "{column} for a column"
                )
            elif not found[1]:
                raise TemplateError(f"character {found.start() + 1}: {{}} names no column: write {{first_name}}, say")
            else:
                self._parts += [found[1], ""]
        self._parts[-1] += text[end:]

    @property
    def columns(self) -> list[str]:
        """Those that it names, each once."""
        return list(dict.fromkeys(self._parts[1::2]))

    def text_of(self, member: types_pb2.Member) -> str:
        """The text for one member."""
        parts = [value_of(member, part) if index % 2 else part for index, part in enumerate(self._parts)]
        return "".join(parts)


def value_of(member: types_pb2.Member, column: str) -> str:
    """What a member has in a column, for people: amounts with a point, kinds in small letters."""
    field = OWN_COLUMNS.get(column)
    if field is None:
        return member.columns.get(column, "")
    value = getattr(member, field)
    if field.endswith(_HUNDREDTHS):
        return from_hundredths(value)
    if field == "kind":
        return types_pb2.MemberKind.Name(value).removeprefix(_KIND).lower()
    return str(value)


def column_problem(column: str, further: Collection[str]) -> str | None:
    """Why there is no such column in a tree with these further ones; None where there is."""
    known = [*OWN_COLUMNS, *further]
    if column in known:
        return None
    near = difflib.get_close_matches(column, known, n=1)
    mend = f"did you mean {near[0]}" if near else "`fasttree describe` lists those that there are"
    return f"there is no column {quoted(column)}: {mend}"
