"""What form a file of the spool has, by its name.

orders.jsonl                 JSON lines
volume_posted.2026-11.csv    rows under a header; the name begins with the change that they are, else they are orders
orders.20261127.dat          records of the layout `orders.toml` in the folder of layouts
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fasttree.client.forms.csv_updates import CsvUpdates
from fasttree.client.forms.pieces import JsonLines, Pieces
from fasttree.client.forms.update_json import CHANGES
from services.datatrax.layouts.layout import LayoutError
from services.datatrax.layouts.records import RecordForm, Records, read_layout
from services.shared.files.names import file_name_problem

_JSON: Final = (".jsonl", ".json", ".ndjson")
_CSV: Final = ".csv"
_ORDER: Final = "volume_posted"
_LAYOUT: Final = ".toml"


class FormError(Exception):
    """Why a file's form can't be known: one line with the mend."""


class FileForm:
    """What makes updates of a file, and how its receipts are written."""

    def __init__(self, pieces: Pieces, *, is_records: bool, has_own_ids: bool) -> None:
        self.pieces = pieces
        self.is_records = is_records
        #: Whether each update says its id; else it is known by its place.
        self.has_own_ids = has_own_ids

    @property
    def unit(self) -> str:
        """What people count in it."""
        return "record" if self.pieces.record_bytes else "line"


def form_of(name: str, layouts: Path) -> FileForm:
    """The form of the file of that name. Blocks: it reads the layout.

    Raises:
        FormError: It has none.
    """
    low = name.lower()
    stem = name.split(".", 1)[0]
    if low.endswith(_JSON):
        return FileForm(JsonLines(), is_records=False, has_own_ids=True)
    if low.endswith(_CSV):
        change = stem.lower() if stem.lower() in CHANGES else _ORDER
        return FileForm(
            CsvUpdates(change, ",", "write commas there, and texts that hold one in quotes"),
            is_records=False,
            has_own_ids=True,
        )
    if file_name_problem(stem + _LAYOUT):
        raise FormError(f"its name begins with no layout's: call it STEM.anything, where {layouts} has STEM{_LAYOUT}")
    path = layouts / (stem + _LAYOUT)
    try:
        form = RecordForm(read_layout(path))
    except LayoutError as error:
        raise FormError(f"the layout {path}: {error}") from None
    except OSError as error:
        known = ", ".join((*_JSON, _CSV))
        mend = "" if path.exists() else f"; put it there, or name the file {known}"
        raise FormError(f"the layout {path}: {error}{mend}") from None
    return FileForm(Records(form, name), is_records=True, has_own_ids=form.names_ids)
