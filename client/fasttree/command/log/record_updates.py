"""Updates as fixed-width records, by a layout of the company's own."""

from __future__ import annotations

from pathlib import Path

from fasttree.command.session import CommandError
from fasttree.v1 import types_pb2
from services.datatrax.layouts.layout import LayoutError
from services.datatrax.layouts.records import RecordForm, read_layout


class RecordUpdates:
    """Records of one layout, one after another."""

    def __init__(self, layout: Path, source: Path) -> None:
        """`source`: its records are known by its name where the layout names no id. Raises CommandError."""
        try:
            self._form = RecordForm(read_layout(layout))
        except LayoutError as error:
            raise CommandError(f"{layout}: {error}") from None
        except OSError as error:
            raise CommandError(f"{layout} can't be read: {error}") from None
        if str(source) == "-" and not self._form.names_ids:
            raise CommandError(f"{layout}: it names no update_id, and standard input has no name: add one")
        self._name, self._number = source.name, 0

    @property
    def is_open(self) -> bool:
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
