"""What a value of another process's has to be like, beside protobuf: types of msgspec, each told once, at import.

msgspec 0.22 finds out about a type when it first reads one. Two threads that do so at once end the process by a
segmentation fault; a node reads its snapshot in one thread while another loads the kernels. Here it finds out while the
module is imported, which one thread does.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

Value = TypeVar("Value")


class Form(Generic[Value]):
    """One type. Make it at a module's top level."""

    def __init__(self, kind: Any) -> None:
        """`kind`: a struct, or several that say which one they are."""
        self._kind = kind
        self._decoder: msgspec.json.Decoder[Value] = msgspec.json.Decoder(kind)

    def of_json(self, data: bytes | bytearray | str) -> Value:
        """The value of a JSON text. Raises msgspec.DecodeError, UnicodeDecodeError."""
        return self._decoder.decode(data)

    def of(self, value: Any) -> Value:
        """The value of what a JSON text came to. Raises msgspec.ValidationError."""
        found: Value = msgspec.convert(value, self._kind)
        return found
