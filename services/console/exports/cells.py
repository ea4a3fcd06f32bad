"""Cells of CSV that a spreadsheet takes for what they are."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

#: By these a spreadsheet begins a formula, or a field that another one began goes on.
_BEGINS: Final = tuple("=+-@\t\r\n|%＝＋－＠")
NUMBER: Final = re.compile(r"-?[0-9]{1,19}(?:\.[0-9]+)?")


def plain_cell(value: Any) -> Any:
    """A text that would be a formula with an apostrophe before it, as people write one; anything else as it is."""
    if isinstance(value, str) and value.startswith(_BEGINS) and NUMBER.fullmatch(value) is None:
        return f"'{value}"
    return value


def csv_lines(rows: Iterable[Sequence[Any]]) -> bytes:
    """Of any rows, names of columns among them."""
    content = io.StringIO()
    csv.writer(content, lineterminator="\n").writerows([plain_cell(value) for value in row] for row in rows)
    return content.getvalue().encode()
