"""A channel by TLS that outlives its certificates: gRPC's own keeps those that it was opened with.

Each call goes by the newest certificate. Where that is another one than before, a new connection is opened for it;
calls and streams that are under way finish on the old one, which is then closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc

from fasttree.client.calls.tls import Credentials


class _Opened:
    """A channel of gRPC's, and how many calls it has."""

    def __init__(self, channel: grpc.aio.Channel, credentials: grpc.ChannelCredentials) -> None:
        self.channel = channel
        self.credentials = credentials
        self.calls = 0
        #: By the method's kind and path.
        self.methods: dict[tuple[str, str], Any] = {}


class ReopeningChannel(grpc.aio.Channel):
    """As gRPC's."""

    def __init__(self, address: str, credentials: Credentials, options: Sequence[tuple[str, Any]]) -> None:
        self._address, self._credentials, self._options = address, credentials, options
        self._now = self._open()
        self._old: set[_Opened] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def _open(self) -> _Opened:
        credentials = self._credentials.refresh()
        return _Opened(grpc.aio.secure_channel(self._address, credentials, options=self._options), credentials)

    def current(self) -> _Opened:
        """The one for a call that begins now."""
        if self._credentials.refresh() is not self._now.credentials:
            before, self._now = self._now, self._open()
            self._old.add(before)
            self._close_idle(before)
        return self._now

    def ended(self, opened: _Opened) -> None:
        """A call of it is over."""
        opened.calls -= 1
        self._close_idle(opened)

    def _close_idle(self, opened: _Opened) -> None:
        if opened in self._old and not opened.calls:
            self._old.discard(opened)
            task = asyncio.get_running_loop().create_task(opened.channel.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    # As gRPC has it.

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Method(self, "unary_unary", method, args, kwargs)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Method(self, "unary_stream", method, args, kwargs)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Method(self, "stream_unary", method, args, kwargs)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Method(self, "stream_stream", method, args, kwargs)

    async def close(self, grace: float | None = None) -> None:
        opened, self._old = [self._now, *self._old], set()
        for each in opened:
            await each.channel.close(grace)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def __aenter__(self) -> ReopeningChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._now.channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._now.channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._now.channel.channel_ready()


class _Method:
    """A method that is called on whichever channel is the newest."""

    def __init__(
        self, owner: ReopeningChannel, kind: str, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._owner, self._key, self._args, self._kwargs = owner, (kind, method), args, kwargs

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        opened = self._owner.current()
        method = opened.methods.get(self._key)
        if method is None:
            kind, path = self._key
            method = opened.methods[self._key] = getattr(opened.channel, kind)(path, *self._args, **self._kwargs)
        call = method(*args, **kwargs)
        opened.calls += 1
        call.add_done_callback(lambda _: self._owner.ended(opened))
        return call
