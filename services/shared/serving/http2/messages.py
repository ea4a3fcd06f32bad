"""What gRPC puts into HTTP/2, as bytes: messages, timeouts, statuses, metadata (gRPC's PROTOCOL-HTTP2.md)."""

from __future__ import annotations

import base64
import binascii
import functools
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import grpc

from services.shared.domain.sentences import quoted_bytes

Headers = Sequence[tuple[bytes, bytes]]
Metadata = Iterable[tuple[str, str | bytes]]

_HEAD = struct.Struct(">?I")
HEAD_BYTES = _HEAD.size
#: A timeout's number has at most so many digits.
_TIMEOUT_DIGITS_MAX = 8
_UNIT_S = {b"H": 3_600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
#: Printable ASCII but for "%" stands in a status message as it is.
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
#: The decompressor tells gzip from zlib by itself.
_EITHER_FORMAT = 32 + zlib.MAX_WBITS
_GZIP = 16 + zlib.MAX_WBITS
ENCODINGS = (b"identity", b"deflate", b"gzip")
_CONTENT_TYPE = b"application/grpc"
ANSWER_HEAD = (
    (b":status", b"200"),
    (b"content-type", _CONTENT_TYPE),
    (b"grpc-accept-encoding", b",".join(ENCODINGS)),
)
#: So many are kept as they are sent.
_STATUSES_KEPT = 128
ANSWER_OK = ((b"grpc-status", b"0"),)
#: For those who come with a browser or curl.
_NOT_GRPC = b"gRPC is spoken here: POST, with a content-type of application/grpc\n"
_CODES = {b"%d" % code.value[0]: code for code in grpc.StatusCode}


class CallError(Exception):
    """Why a call can't be served as it was sent: the status it ends with."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


def is_grpc(content_type: bytes) -> bool:
    """Whether a request is one of gRPC: that, or that with a kind of message or parameters. gRPC-Web is another one."""
    return content_type.startswith(_CONTENT_TYPE) and content_type[len(_CONTENT_TYPE) :][:1] in (b"", b"+", b";")


def parse_timeout_s(value: bytes) -> float:
    """Seconds of a `grpc-timeout`.

    Raises:
        CallError: It is not one.
    """
    digits, unit = value[:-1], _UNIT_S.get(value[-1:])
    if unit is None or not digits.isdigit() or len(digits) > _TIMEOUT_DIGITS_MAX:
        raise CallError(
            grpc.StatusCode.INTERNAL,
            f"grpc-timeout {quoted_bytes(value)} is not a time: "
            f"send 1 to {_TIMEOUT_DIGITS_MAX} digits and one of H M S m u n",
        )
    return int(digits) * unit


def read_metadata(headers: Headers) -> tuple[tuple[str, str | bytes], ...]:
    """What the client's program sent along; names that end in "-bin" have bytes."""
    found: list[tuple[str, str | bytes]] = []
    for name, value in headers:
        if name.startswith((b":", b"grpc-")) or name in (b"te", b"content-type"):
            continue
        key = name.decode("ascii", "replace")
        if not key.endswith("-bin"):
            found.append((key, value.decode("ascii", "replace")))
            continue
        try:
            found.extend((key, base64.b64decode(part + b"=" * (-len(part) % 4))) for part in value.split(b","))
        except binascii.Error:
            continue
    return tuple(found)


def write_metadata(metadata: Metadata | None) -> list[tuple[bytes, bytes]]:
    """The other way round."""
    return [
        (key.encode(), base64.b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value.encode())
        for key, value in metadata or ()
    ]


def write_status(code: grpc.StatusCode, details: str, metadata: Metadata | None) -> Headers:
    """The trailers that end a call."""
    return _trailers(code, details, tuple(map(tuple, metadata or ())))


@functools.lru_cache(_STATUSES_KEPT)
def _trailers(code: grpc.StatusCode, details: str, metadata: Any) -> Headers:
    """Those who ask too much are told the same again and again."""
    trailers = [(b"grpc-status", b"%d" % code.value[0])]
    if details:
        trailers.append((b"grpc-message", quote(details, safe=_PLAIN).encode()))
    return (*trailers, *write_metadata(metadata))


def not_grpc(method: bytes) -> tuple[Headers, bytes]:
    """Head and body of the answer to a request that is not one of gRPC."""
    status, size = b"415" if method == b"POST" else b"405", b"%d" % len(_NOT_GRPC)
    head = ((b":status", status), (b"content-type", b"text/plain"), (b"content-length", size))
    return head, b"" if method == b"HEAD" else _NOT_GRPC


def read_status(headers: Headers) -> CallError | None:
    """What the trailers of a call say of its end; None where it is well."""
    fields = dict(headers)
    number = fields.get(b"grpc-status")
    code = _CODES.get(number, grpc.StatusCode.UNKNOWN) if number is not None else grpc.StatusCode.UNKNOWN
    if code is grpc.StatusCode.OK:
        return None
    details = unquote_to_bytes(fields.get(b"grpc-message", b"" if number else b"the server ended it without a status"))
    return CallError(code, details.decode(errors="replace"))


def check_encoding(encoding: bytes) -> None:
    """Raises CallError where messages can't be read by it."""
    if encoding not in ENCODINGS:
        known = ", ".join(each.decode() for each in ENCODINGS)
        raise CallError(
            grpc.StatusCode.UNIMPLEMENTED,
            f"grpc-encoding {quoted_bytes(encoding)} is not known here: send one of {known}",
        )


def compress(message: bytes) -> bytes:
    """As gzip."""
    compressor = zlib.compressobj(wbits=_GZIP)
    return compressor.compress(message) + compressor.flush()


def write_message(message: bytes, compressed: bool = False) -> bytes:
    """A message with its head."""
    return _HEAD.pack(compressed, len(message)) + message


class MessageReader:
    """Messages of one call, out of the pieces that they come in."""

    __slots__ = ("_encoding", "_limit", "_parts", "needs_bytes")

    def __init__(self, encoding: bytes, limit_bytes: int) -> None:
        self._encoding = encoding
        self._limit = limit_bytes
        self._parts = bytearray()
        #: Of the message that is coming, its head included; 0 between two messages.
        self.needs_bytes = 0

    @property
    def held_bytes(self) -> int:
        """What has come of a message that is not whole."""
        return len(self._parts)

    def take(self, data: bytes) -> list[tuple[bytes, int]]:
        """Messages that are whole by now, each with how many bytes it came in.

        Raises:
            CallError: One is too large, or is compressed otherwise than was said. Nothing can be read after it.
        """
        if self._parts:
            self._parts += data
            if len(self._parts) < self.needs_bytes:
                return []
            data = bytes(self._parts)
            self._parts.clear()
        whole, start, end = [], 0, len(data)
        while end - start >= HEAD_BYTES:
            length = int.from_bytes(data[start + 1 : start + HEAD_BYTES], "big")
            if length > self._limit:
                raise CallError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED, f"Received message larger than max ({length} vs. {self._limit})"
                )
            stop = start + HEAD_BYTES + length
            if stop > end:
                self.needs_bytes = HEAD_BYTES + length
                break
            whole.append((self._open(data[start], data[start + HEAD_BYTES : stop]), stop - start))
            start = stop
        else:
            self.needs_bytes = HEAD_BYTES if start < end else 0
        if start < end:
            self._parts += data[start:]
        else:
            self.needs_bytes = 0
        return whole

    def _open(self, flag: int, payload: bytes) -> bytes:
        if flag == 0:
            return payload
        if flag > 1:
            raise CallError(
                grpc.StatusCode.INTERNAL, f"a message begins with the byte {flag}: 0 and 1 are what gRPC has"
            )
        if self._encoding == b"identity":
            raise CallError(
                grpc.StatusCode.INTERNAL,
                "a message says it is compressed, the call says it is not: name its encoding as grpc-encoding",
            )
        encoding = self._encoding.decode()
        opener = zlib.decompressobj(_EITHER_FORMAT)
        try:
            message = opener.decompress(payload, self._limit + 1)
        except zlib.error:
            raise CallError(grpc.StatusCode.INTERNAL, f"can't decompress a message as {encoding}") from None
        if len(message) > self._limit:
            raise CallError(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"Decompressed message larger than max ({self._limit} bytes)"
            )
        if not opener.eof:
            raise CallError(grpc.StatusCode.INTERNAL, f"a compressed message ends early ({encoding})")
        if opener.unused_data:
            raise CallError(grpc.StatusCode.INTERNAL, f"more follows a compressed message than is of it ({encoding})")
        return message
