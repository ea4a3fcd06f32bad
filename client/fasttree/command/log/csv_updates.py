"""Updates as rows of CSV: the header names fields of one kind of change, each row is one update.

    update_id,member_id,amount
    order-1,7,12.50

What a row says is held to the rules of JSON lines: it becomes such an object first.
"""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from fasttree.client import UpdateFormatError, update_from_json
from fasttree.client.forms.json_form import WRITTEN_AS
from fasttree.v1 import types_pb2

#: How a header names a further column of a member.
_FURTHER = "columns."
_UPDATE_ID = "update_id"
_TRUTHS = {"true": True, "false": False}
#: What a row with line breaks in it may be.
_ROW_CHARACTERS_MAX = 1 << 20
#: What columns are separated by where no comma does it, without --separator.
_SEPARATORS = (";", "\t", "|")


class CsvUpdates:
    """Rows, one after another: the first is the header."""

    def __init__(self, change: str, separator: str) -> None:
        """`change`: the field of an update that its rows are."""
        self._change, self._separator = change, separator
        form: Descriptor | None = types_pb2.Update.DESCRIPTOR.fields_by_name[change].message_type
        assert form is not None  # every change is a message
        self._form = form
        self._known = [_UPDATE_ID, *(WRITTEN_AS.get(field.name, field.name) for field in self._form.fields)]
        self._has_columns = "columns" in self._known
        self._names: list[str] = []
        #: A row so far, whose quotes are open.
        self._open = ""

    @property
    def is_open(self) -> bool:
        """Whether the line before ended within quotes."""
        return bool(self._open)

    def line(self, text: str) -> types_pb2.Update | None:
        """The update of a row that ends with this line; None where none does. Raises UpdateFormatError."""
        self._open += text
        if self._open.count('"') % 2:
            if len(self._open) > _ROW_CHARACTERS_MAX:
                raise UpdateFormatError("a quote is not closed: close it, and double those inside a text")
            return None
        row, self._open = self._open, ""
        if not row.strip():
            return None
        fields = self._fields(row)
        if not self._names:
            self._names = self._header(fields)
            return None
        if len(fields) != len(self._names):
            raise UpdateFormatError(
                f"the row has {len(fields)} fields, the header {len(self._names)}: give every one, empty where nothing "
                "is said, and put a text that holds the separator in quotes"
            )
        return update_from_json(json.dumps(self._content(fields)))

    def end(self) -> None:
        """Raises UpdateFormatError where the last row is not whole, or there was no header."""
        if self._open:
            raise UpdateFormatError("a quote is not closed: close it, and double those inside a text")
        if not self._names:
            raise UpdateFormatError(f"no header: the first line names fields, some of {', '.join(self._known)}")

    def _fields(self, row: str) -> list[str]:
        try:
            return next(csv.reader(row.splitlines(keepends=True), delimiter=self._separator, strict=True))
        except csv.Error:
            raise UpdateFormatError("its quotes can't be read: close each, and double those inside a text") from None

    def _header(self, fields: Sequence[str]) -> list[str]:
        other = next((each for each in _SEPARATORS if len(fields) == 1 and each in fields[0]), "")
        if other:
            shown = "tab" if other == "\t" else other
            raise UpdateFormatError(f"the header is one field: if {shown} separates columns, add --separator '{shown}'")
        names = [self._name(field.strip()) for field in fields]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise UpdateFormatError(f'the header has "{twice}" twice: leave one of them')
        if _UPDATE_ID not in names:
            raise UpdateFormatError(
                f"the header has no {_UPDATE_ID}: add a column with the name that its source has for each change"
            )
        return names

    def _name(self, written: str) -> str:
        if self._has_columns and written.lower().startswith(_FURTHER) and len(written) > len(_FURTHER):
            return _FURTHER + written[len(_FURTHER) :]
        if (name := written.lower()) in self._known and name != "columns":
            return name
        near = difflib.get_close_matches(name, self._known, n=1)
        known = [each for each in self._known if each != "columns"] + [f"{_FURTHER}NAME"] * self._has_columns
        mend = f"did you mean {near[0]}? " if near else ""
        shown = json.dumps(written[:48], ensure_ascii=False)
        raise UpdateFormatError(f"there is no field {shown} in {self._change}: {mend}it has {', '.join(known)}")

    def _content(self, fields: Sequence[str]) -> dict[str, Any]:
        """The object that a JSON line would have; an empty field is left out."""
        content: dict[str, Any] = {}
        change: dict[str, Any] = {}
        for name, text in zip(self._names, fields, strict=True):
            if not text:
                continue
            if name == _UPDATE_ID:
                content[name] = text
            elif name.lower().startswith(_FURTHER):
                change.setdefault("columns", {})[name[len(_FURTHER) :]] = text
            else:
                field = self._form.fields_by_name.get(name)
                is_truth = field is not None and field.cpp_type == FieldDescriptor.CPPTYPE_BOOL
                change[name] = _TRUTHS.get(text.lower(), text) if is_truth else text
        return content | {self._change: change}
