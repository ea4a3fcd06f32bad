"""A workbook of Excel, written row by row to a file: memory stays what one row takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import xlsxwriter
from xlsxwriter.exceptions import FileCreateError

from services.console.exports.cells import NUMBER

_TEXT_MAX: Final = 32_767
#: Beyond these, Excel's numbers are no more exact: such a one is kept as a text.
_DIGITS_MAX: Final = 15
_WIDTHS: Final = (10, 40)


class Workbook:
    """One sheet. `numbers`: columns whose cells count; all others are texts, and nothing is a formula or a link.
    Whoever does not close it abandons it. Blocks, and raises OSError."""

    def __init__(self, folder: Path, columns: Sequence[str], numbers: frozenset[str]) -> None:
        self.path = folder / "downline.xlsx"
        options = {"constant_memory": True, "tmpdir": str(folder)}
        self._book = xlsxwriter.Workbook(str(self.path), options)
        self._sheet = self._book.add_worksheet("Downline")
        self._is_number = [name in numbers for name in columns]
        self._count = 0
        head = self._book.add_format({"bold": True, "bottom": 1})
        for at, name in enumerate(columns):
            self._sheet.set_column(at, at, min(max(len(name) + 4, _WIDTHS[0]), _WIDTHS[1]))
            self._sheet.write_string(0, at, name[:_TEXT_MAX], head)
        self._sheet.freeze_panes(1, 0)

    def write(self, rows: Iterable[Sequence[Any]]) -> None:
        """Raises OSError. A sheet takes 1,048,575 of them: who asks counts (`console.workbook_rows_max`)."""
        for row in rows:
            self._count += 1
            for at, value in enumerate(row):
                self._cell(at, "" if value is None else str(value))

    def close(self) -> None:
        """Makes the file. Raises OSError."""
        if self._count:
            self._sheet.autofilter(0, 0, self._count, len(self._is_number) - 1)
        try:
            self._book.close()
        except FileCreateError as error:
            (found,) = error.args
            raise found if isinstance(found, OSError) else OSError(str(error)) from None

    def abandon(self) -> None:
        """Holds no file open any more, so that what was written takes no room once its folder is removed."""
        if (rows := self._sheet.row_data_fh) is not None:
            with contextlib.suppress(OSError, ValueError):  # what is not written yet has no room, or it is closed
                rows.close()

    def _cell(self, column: int, text: str) -> None:
        is_number = self._is_number[column] and NUMBER.fullmatch(text) is not None
        if is_number and sum(map(str.isdigit, text)) <= _DIGITS_MAX:
            self._sheet.write_number(self._count, column, float(text))
        elif text:
            self._sheet.write_string(self._count, column, text[:_TEXT_MAX])
