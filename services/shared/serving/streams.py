"""A call in which both sides stream, by whichever client of gRPC there is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

import grpc
import grpc.aio

from services.shared.serving.channels import open_channel

try:
    from services.shared.serving.http2.client import ClientStream
    from services.shared.serving.http2.limits import Limits
    from services.shared.serving.http2.messages import CallError
except ModuleNotFoundError as missing:
    if missing.name != "ngh2":
        raise
    ClientStream = None  # type: ignore[assignment, misc]


class StreamError(Exception):
    """A stream has ended, or could not begin; says how in one line."""


class CallStream(Protocol):
    """What goes to a server and comes back, as bytes. One task reads and one writes."""

    async def write(self, message: bytes) -> None:
        """Sends a message, once the server takes it. Raises StreamError."""

    def read(self) -> AsyncIterator[bytes]:
        """What the server says, to the stream's end. Raises StreamError."""

    async def close(self) -> None:
        """Ends the stream."""


async def open_stream(address: str, path: str) -> CallStream:
    """Calls the method of that path. How long it may take is the caller's to bound.

    Raises:
        StreamError: There is nobody at host:port.
    """
    if ClientStream is None:
        return _Grpcio(address, path)
    try:
        return _Nghttp2(await ClientStream.open(address, path, Limits()))
    except CallError as error:
        raise _ended(error) from None


def _ended(error: CallError) -> StreamError:
    return StreamError(f"{error.code.name}: {error.details}")


class _Nghttp2:
    """This project's client: a third of the time of grpcio's, and no threads in between."""

    def __init__(self, stream: ClientStream) -> None:
        self._stream = stream

    async def write(self, message: bytes) -> None:
        try:
            await self._stream.write(message)
        except CallError as error:
            raise _ended(error) from None

    async def read(self) -> AsyncIterator[bytes]:
        try:
            async for message in self._stream:
                yield message
        except CallError as error:
            raise _ended(error) from None

    async def close(self) -> None:
        self._stream.close()


class _Grpcio:
    """grpcio's, where the package ngh2 is missing."""

    def __init__(self, address: str, path: str) -> None:
        self._channel = open_channel(address)
        self._call: grpc.aio.StreamStreamCall[bytes, bytes] = self._channel.stream_stream(path)()

    async def write(self, message: bytes) -> None:
        with self._told():
            await self._call.write(message)

    async def read(self) -> AsyncIterator[bytes]:
        with self._told():
            async for message in self._call:
                yield message

    async def close(self) -> None:
        await self._channel.close()

    @staticmethod
    @contextlib.contextmanager
    def _told() -> Iterator[None]:
        """Turns grpcio's errors into this room's."""
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise StreamError(f"{error.code().name}: {error.details()}") from None
        except (grpc.aio.UsageError, asyncio.InvalidStateError) as error:
            raise StreamError(f"the stream broke: {error}") from None
