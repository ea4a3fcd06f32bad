"""Connections, one to each address, opened when first used."""

from __future__ import annotations

import asyncio

import grpc

from fasttree.client.calls.reopening import ReopeningChannel
from fasttree.client.calls.tls import Credentials, TlsFiles
from fasttree.client.calls.tokens import GivenToken, Token, TokenChannel, TokenFile
from fasttree.client.errors import ClientClosedError, FastTreeClientError

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
    # A dead peer is found within seconds, on streams too.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Reconnect quickly: the calls above have their own deadline and back-off. What one attempt has to end in, TLS and
    # hello included, is the second (the name is gRPC's): a server answers it between two pieces of work, a machine that
    # is busy takes seconds, and calls that wait for the attempt fail with it.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


class OneLoop:
    """The event loop that a client's connections belong to: that of its first call. In another one, as in another
    thread, they would answer nobody, or not there."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def check(self) -> None:
        """Raises FastTreeClientError in another one."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            return  # nothing is called yet
        if self._loop is None:
            self._loop = running
        elif self._loop is not running:
            raise FastTreeClientError(
                "this client was used in another event loop (another thread, or an earlier asyncio.run): make a Client "
                "in each"
            )


class Channels:
    """Opens a channel to an address once and keeps it until `close`. `tls`: by TLS, and who this client is. `token`:
    who it is in each call."""

    def __init__(self, tls: TlsFiles | None = None, token: TokenFile | None = None) -> None:
        self._tls = tls
        self._token_file = token
        self._token: Token | None = None
        self._credentials: Credentials | None = None
        self._open: dict[str, grpc.aio.Channel] = {}
        self.loop = OneLoop()
        self._closed = False

    def to(self, address: str) -> grpc.aio.Channel:
        """The channel to a host:port. Raises ClientClosedError after `close`, TlsFilesError, TokenFileError."""
        if self._closed:
            raise ClientClosedError(f"{address}: the client is closed; ask by another one")
        self.loop.check()
        channel = self._open.get(address)
        if channel is None:
            channel = self._open[address] = self._with_token(address)
        return channel

    def _with_token(self, address: str) -> grpc.aio.Channel:
        if self._token_file is None:
            return self._opened(address)
        self._token_file.check_way(address, by_tls=self._tls is not None)
        if self._token is None:
            self._token = Token(self._token_file)
        return TokenChannel(self._opened(address), self._token)

    def _opened(self, address: str) -> grpc.aio.Channel:
        if self._tls is None:
            return grpc.aio.insecure_channel(address, options=_OPTIONS)
        if self._credentials is None:
            self._credentials = Credentials(self._tls)
        name = self._tls.server_name
        options = [*_OPTIONS, ("grpc.ssl_target_name_override", name)] if name else _OPTIONS
        return ReopeningChannel(address, self._credentials, options)

    async def close(self) -> None:
        self._closed = True
        channels, self._open = list(self._open.values()), {}
        for channel in channels:
            await channel.close()


class InNameOf(Channels):
    """The channels of another one, whose calls bring a token, and none but that. It opens and closes none itself."""

    def __init__(self, channels: Channels, token: str) -> None:
        super().__init__()
        self._channels, self._given = channels, GivenToken(token)
        self.loop = channels.loop

    def to(self, address: str) -> grpc.aio.Channel:
        channel = self._channels.to(address)
        return TokenChannel(channel.channel if isinstance(channel, TokenChannel) else channel, self._given)

    async def close(self) -> None:
        """They are the other's."""
