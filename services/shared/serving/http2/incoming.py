"""What comes of one call: its messages as they get whole, and what of it a server holds."""

from __future__ import annotations

import contextlib

import grpc
from ngh2 import Connection, ErrorCode, NGH2Error

from services.shared.serving.http2.events import Begun
from services.shared.serving.http2.limits import Budget
from services.shared.serving.http2.messages import HEAD_BYTES, CallError, Headers, MessageReader

#: What a client may still send of a call that has ended before it hears that nobody reads it.
_REST_S = 1.0


class Incoming(Begun):
    """The client's side of one call. `streams`: its messages are told one by one.

    There is one for each call, so what few of them need is the class's until they do."""

    #: The client has sent all of it.
    whole = False
    #: Came, and were not given back to the client's window.
    held = 0
    #: Of those, in messages that are whole and not read.
    unread = 0
    #: Counted in the budgets.
    budgeted = 0
    _reader: MessageReader | None = None

    def __init__(
        self, stream_id: int, path: bytes, headers: Headers, encoding: bytes, streams: bool, begun_s: float
    ) -> None:
        self.stream_id = stream_id
        self.path = path
        self.headers = headers
        self.streams = streams
        self.begun_s = begun_s
        self._encoding = encoding

    def one_whole(self, data: bytes, limit_bytes: int) -> bytes | None:
        """The message, where a call's first piece is all of it, as nearly every one's is."""
        if self._reader is not None or self.streams or len(data) < HEAD_BYTES or data[0]:
            return None
        length = len(data) - HEAD_BYTES
        return data[HEAD_BYTES:] if int.from_bytes(data[1:HEAD_BYTES], "big") == length <= limit_bytes else None

    def take(self, data: bytes, limit_bytes: int) -> list[tuple[bytes, int]]:
        """Messages of a stream that are whole by now, each with its size as it came.

        Raises:
            CallError: What came can't be read.
        """
        if self._reader is None:
            self._reader = MessageReader(self._encoding, limit_bytes)
        self.held += len(data)
        whole = self._reader.take(data)
        self.unread += sum(size for _, size in whole)
        if self.streams:
            return whole
        for message, _ in whole:
            if self.message is not None:
                raise CallError(grpc.StatusCode.UNIMPLEMENTED, "a call of one request got another")
            self.message = message
        return []

    def finish(self) -> None:
        """The client has sent all of it.

        Raises:
            CallError: That is no whole request.
        """
        self.whole = True
        if self.in_part:
            raise CallError(grpc.StatusCode.INTERNAL, "the last message is not whole")
        if not self.streams and self.message is None:
            raise CallError(grpc.StatusCode.UNIMPLEMENTED, "a call of one request got none")

    def is_late(self, begun_s_min: float) -> bool:
        """Whether it is a request that began before that and is not whole."""
        return not (self.streams or self.whole) and self.begun_s < begun_s_min

    @property
    def in_part(self) -> int:
        """Bytes of a message that is not whole."""
        return 0 if self._reader is None else self._reader.held_bytes

    @property
    def buffered(self) -> int:
        """Bytes that a server holds for it."""
        return self.unread + self.in_part

    def spare(self, window: int) -> int:
        """Bytes of its window that need not be held: what was read, and the beginning of a message that is larger than
        half the window, once it is the next one to be read. None where it is not yet worth a frame."""
        waiting = self.unread if self.streams else 0
        partial = self.in_part
        if not waiting and self._reader is not None and self._reader.needs_bytes * 2 > window:
            partial = 0
        spare = self.held - waiting - partial
        return spare if spare * 4 >= window or not (waiting or partial) else 0


class Unfinished:
    """Calls that were answered before all of them was there: the client need not send the rest."""

    def __init__(self, h2: Connection) -> None:
        self._h2 = h2
        #: By stream, when it was answered.
        self._answered_s: dict[int, float] = {}

    def note(self, stream_id: int, now_s: float) -> None:
        """One was answered."""
        self._answered_s[stream_id] = now_s

    def forget(self, stream_id: int) -> None:
        """Its client has ended it too."""
        self._answered_s.pop(stream_id, None)

    def break_off(self, now_s: float) -> None:
        """Resets those whose time is up. Not at once: some clients tell a reset that meets what they are sending as a
        failure of their own, in the place of the status."""
        for stream_id, answered_s in list(self._answered_s.items()):
            if now_s - answered_s > _REST_S:
                with contextlib.suppress(NGH2Error):
                    if not self._h2.queued_body_size(stream_id):
                        self._h2.reset_stream(stream_id, ErrorCode.NO_ERROR)
                        self.forget(stream_id)


class Buffers:
    """What the calls of one connection hold that is not whole or not read: bounded, as is that of all of them."""

    def __init__(self, limit: int, budget: Budget) -> None:
        self._limit = limit
        self._budget = budget
        self._used = 0

    def note(self, incoming: Incoming) -> None:
        """Takes what a call holds now.

        Raises:
            CallError: That is too much.
        """
        more = incoming.buffered - incoming.budgeted
        if more > 0 and (self._used + more > self._limit or self._budget.used + more > self._budget.limit):
            raise CallError(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests are under way that are not whole")
        self._count(incoming, more)

    def release(self, incoming: Incoming) -> None:
        """A call holds nothing any more."""
        self._count(incoming, -incoming.budgeted)

    def _count(self, incoming: Incoming, more: int) -> None:
        incoming.budgeted += more
        self._used += more
        self._budget.used += more
