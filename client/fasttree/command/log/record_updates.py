"""Updates as fixed-width records, by a layout of the company's own."""

from __future__ import annotations

from pathlib import Path

from fasttree.client import UpdateFormatError
from fasttree.client.forms.row_form import UPDATE_ID, RowForm
from fasttree.command.session import CommandError
from fasttree.v1 import types_pb2
from services.datatrax.layouts.layout import FILLER, LAYOUT_BYTES_MAX, Layout, LayoutError, RecordError, layout_of


class RecordUpdates:
    """Records of one layout, one after another."""

    def __init__(self, layout: Layout, name: str) -> None:
        """`name`: of the source, which its records are known by where the layout names no id. Raises
        UpdateFormatError where the layout has fields that no update has."""
        self._layout, self._name, self._number = layout, name, 0
        self._form = RowForm(layout.change)
        #: What goes into the update; any other field is there for the id.
        self._fields = {
            field.name: self._form.name_of(field.name)
            for field in layout.fields
            if field.name != FILLER and f"{{{field.name}}}" not in layout.update_id
        } | {name: name for name in self._form.known if f"{{{name}}}" in layout.update_id}

    @property
    def is_open(self) -> bool:
        return False

    @property
    def record_bytes(self) -> int:
        return 0 if self._layout.has_lines else self._layout.record_bytes

    def update_of(self, piece: bytes) -> types_pb2.Update | None:
        self._number += 1
        record = piece.rstrip(b"\r\n\x1a") if self._layout.has_lines else piece
        if not record.strip():
            return None
        try:
            texts = self._layout.texts_of(record)
            update_id = texts.get(UPDATE_ID) or self._layout.id_of(texts, f"{self._name}:{self._number}")
        except RecordError as error:
            raise UpdateFormatError(str(error)) from None
        named = ((self._fields[name], text) for name, text in texts.items() if name in self._fields)
        return self._form.update_of([*named, (UPDATE_ID, update_id)])

    def end(self) -> None:
        """A source may end behind any record."""


def read_layout(path: Path) -> Layout:
    """Raises CommandError, which names the file."""
    try:
        with path.open("rb") as file:
            return layout_of(file.read(LAYOUT_BYTES_MAX + 1))
    except LayoutError as error:
        raise CommandError(f"{path}: {error}") from None
    except OSError as error:
        raise CommandError(f"{path} can't be read: {error.strerror or error}") from None
