"""Connections, one to each address, opened when first used."""

from __future__ import annotations

import grpc

from fasttree.client.errors import ClientClosedError

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
    # A dead peer is found within seconds, on streams too.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Reconnect quickly: the calls above have their own deadline and back-off. An attempt may last longer than that: a
    # server answers it between two pieces of work.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


class Channels:
    """Opens a channel to an address once and keeps it until `close`."""

    def __init__(self) -> None:
        self._open: dict[str, grpc.aio.Channel] = {}
        self._closed = False

    def to(self, address: str) -> grpc.aio.Channel:
        """The channel to a host:port. Raises ClientClosedError after `close`."""
        if self._closed:
            raise ClientClosedError(f"{address}: the client is closed; ask by another one")
        channel = self._open.get(address)
        if channel is None:
            channel = self._open[address] = grpc.aio.insecure_channel(address, options=_OPTIONS)
        return channel

    async def close(self) -> None:
        self._closed = True
        channels, self._open = list(self._open.values()), {}
        for channel in channels:
            await channel.close()
