"""Updates of a layout's records."""

from __future__ import annotations

from pathlib import Path

from fasttree.client import UpdateFormatError
from fasttree.client.forms.row_form import UPDATE_ID, RowForm
from fasttree.v1 import types_pb2
from services.datatrax.layouts.layout import (
    FILLER,
    LAYOUT_BYTES_MAX,
    Layout,
    LayoutError,
    RecordError,
    layout_of,
)
from services.shared.config.text_file import read_text_file

_ENDS = b"\r\n\x1a"


class RecordForm:
    """What makes updates of one layout's records."""

    def __init__(self, layout: Layout) -> None:
        """Raises LayoutError where the layout has fields that no update has."""
        self.layout = layout
        try:
            self._form = RowForm(layout.change)
            used = {field.name for field in layout.fields if f"{{{field.name}}}" in layout.update_id}
            #: What goes into the update, and its name there; any other field is there for the id.
            self._names = {
                field.name: self._form.name_of(field.name)
                for field in layout.fields
                if field.name != FILLER and not (field.name in used and field.name not in self._form.known)
            }
        except UpdateFormatError as error:
            raise LayoutError(str(error)) from None

    @property
    def names_ids(self) -> bool:
        """Whether a record says its update's id."""
        return bool(self.layout.update_id) or UPDATE_ID in self._names

    def update_of(self, record: bytes, fallback_id: str) -> types_pb2.Update | None:
        """The update of a record, with its line's end or without; None where it is blank.

        Args:
            fallback_id: Of a record that says none.

        Raises:
            UpdateFormatError: It is none; with the field and the mend.
        """
        if self.layout.has_lines:
            record = record.rstrip(_ENDS)
        if not record.strip():
            return None
        try:
            texts = self.layout.texts_of(record)
            update_id = texts.get(UPDATE_ID) or self.layout.id_of(texts, fallback_id)
        except RecordError as error:
            raise UpdateFormatError(str(error)) from None
        named = [(self._names[name], text) for name, text in texts.items() if name in self._names]
        return self._form.update_of([*named, (UPDATE_ID, update_id)])


class Records:
    """A source of one layout's records, one after another: the pieces that updates are made of."""

    def __init__(self, form: RecordForm, name: str) -> None:
        """`name`: of the source; with its number, a record that names no id is known by it."""
        self._form, self._name, self._number = form, name, 0

    @property
    def is_open(self) -> bool:
        return False

    @property
    def is_lost(self) -> bool:
        return False

    @property
    def record_bytes(self) -> int:
        layout = self._form.layout
        return 0 if layout.has_lines else layout.record_bytes

    def update_of(self, piece: bytes) -> types_pb2.Update | None:
        self._number += 1
        return self._form.update_of(piece, f"{self._name}:{self._number}")

    def end(self) -> None:
        """A source may end behind any record."""


def read_layout(path: Path) -> Layout:
    """Reads a layout file. Raises LayoutError; OSError, which says in a few words why it can't be read."""
    return layout_of(read_text_file(path, LAYOUT_BYTES_MAX).encode())
