"""What an answer is as of: one message of each state that is served, kept, and encoded once for as long as it holds."""

from __future__ import annotations

from fasttree.v1 import types_pb2

_NANOSECONDS_PER_S = 1_000_000_000


class StateAsOf:
    """One served state."""

    def __init__(self, message: types_pb2.AsOf) -> None:
        self._message = message
        #: The message serialized with that epoch; empty where it has changed since.
        self._bytes, self._bytes_epoch = b"", 0

    def message(self, epoch: int) -> types_pb2.AsOf:
        """What an answer made now is as of; the message is kept and changed later."""
        self._message.epoch = epoch
        return self._message

    def encoded(self, epoch: int) -> bytes:
        """The same, serialized; the same object for as long as it holds."""
        if not self._bytes or self._bytes_epoch != epoch:
            self._bytes, self._bytes_epoch = self.message(epoch).SerializeToString(), epoch
        return self._bytes

    def moved(self, import_id: int, position: int, fresh_at_s: float | None) -> None:
        """The state is another one, or how fresh it is has changed."""
        message, self._bytes = self._message, b""
        message.import_id, message.position = import_id, position
        if fresh_at_s is None:
            message.ClearField("fresh_at")
        else:
            seconds, nanos = divmod(int(fresh_at_s * _NANOSECONDS_PER_S), _NANOSECONDS_PER_S)
            message.fresh_at.seconds, message.fresh_at.nanos = seconds, nanos
