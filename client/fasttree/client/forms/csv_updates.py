"""Updates as rows of CSV: the header names fields of one kind of change, each row is one update.

update_id,member_id,amount
order-1,7,12.50
"""

from __future__ import annotations

import csv
from collections.abc import Sequence

from fasttree.client.errors import UpdateFormatError
from fasttree.client.forms.row_form import UPDATE_ID, RowForm
from fasttree.v1 import types_pb2

#: What a row with line breaks in it may be.
_ROW_CHARACTERS_MAX = 1 << 20
#: What columns are separated by where no comma does it, without --separator.
_SEPARATORS = (";", "\t", "|")


class CsvUpdates:
    """Rows, one after another: the first is the header."""

    def __init__(self, change: str, separator: str, other_separator: str = "add --separator '{}'") -> None:
        """`change`: the field of an update that its rows are; `other_separator`: what to do where {} separates them."""
        self._form, self._separator, self._other_separator = RowForm(change), separator, other_separator
        self._names: list[str] = []
        self._is_lost = False
        #: A row so far, whose quotes are open.
        self._open = ""

    @property
    def is_open(self) -> bool:
        return bool(self._open)

    @property
    def is_lost(self) -> bool:
        return self._is_lost

    @property
    def record_bytes(self) -> int:
        return 0

    def update_of(self, piece: bytes) -> types_pb2.Update | None:
        """The update of a row that ends with this line; None where none does."""
        try:
            return self._update_of(piece.decode())
        except (UpdateFormatError, UnicodeDecodeError):
            self._is_lost = not self._names
            raise

    def _update_of(self, line: str) -> types_pb2.Update | None:
        self._open += line
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
        return self._form.update_of(zip(self._names, fields, strict=True))

    def end(self) -> None:
        if self._open:
            raise UpdateFormatError("a quote is not closed: close it, and double those inside a text")
        if not self._names:
            raise UpdateFormatError(f"no header: the first line names fields, some of {', '.join(self._form.known)}")

    def _fields(self, row: str) -> list[str]:
        try:
            return next(csv.reader(row.splitlines(keepends=True), delimiter=self._separator, strict=True))
        except csv.Error:
            raise UpdateFormatError("its quotes can't be read: close each, and double those inside a text") from None

    def _header(self, fields: Sequence[str]) -> list[str]:
        other = next((each for each in _SEPARATORS if len(fields) == 1 and each in fields[0]), "")
        if other:
            shown = "tab" if other == "\t" else other
            mend = self._other_separator.format(shown)
            raise UpdateFormatError(f"the header is one field: if {shown} separates columns, {mend}")
        names = [self._form.name_of(field.strip()) for field in fields]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise UpdateFormatError(f'the header has "{twice}" twice: leave one of them')
        if UPDATE_ID not in names:
            raise UpdateFormatError(
                f"the header has no {UPDATE_ID}: add a column with the name that its source has for each change"
            )
        return names
