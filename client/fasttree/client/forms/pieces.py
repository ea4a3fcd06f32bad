"""What a source of updates consists of: lines, or records of one length, and what makes updates of them."""

from __future__ import annotations

from typing import Protocol

from fasttree.client.forms.update_json import update_from_json
from fasttree.v1 import types_pb2


class Pieces(Protocol):
    """One form of updates. Pieces come in the order of the source."""

    @property
    def is_open(self) -> bool:
        """Whether the piece before was no whole row."""

    @property
    def is_lost(self) -> bool:
        """Whether nothing that follows can be read, as where its header is none."""

    @property
    def record_bytes(self) -> int:
        """How long each piece is; 0: a line."""

    def update_of(self, piece: bytes) -> types_pb2.Update | None:
        """The update that ends with this piece; None where none does. Raises UpdateFormatError, UnicodeDecodeError."""

    def end(self) -> None:
        """Raises UpdateFormatError where the source must not end here."""


class JsonLines:
    """An update in each line, or nothing."""

    @property
    def is_open(self) -> bool:
        return False

    @property
    def is_lost(self) -> bool:
        return False

    @property
    def record_bytes(self) -> int:
        return 0

    def update_of(self, piece: bytes) -> types_pb2.Update | None:
        line = piece.decode()
        return update_from_json(line) if line.strip() else None

    def end(self) -> None:
        """A source may end anywhere, also without a line."""
