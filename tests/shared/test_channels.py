"""A server that is slow to say hello is connected to: an attempt is not broken off for that."""

from __future__ import annotations

import asyncio
import contextlib

import grpc.aio
import pytest

from fasttree.client.calls.channels import Channels
from services.shared.serving.channels import open_channel

DEADLINE_S = 60.0
#: As TLS and a hello take on a busy machine.
_HELLO_S = 1.2
_SETTINGS = b"\0\0\0\4\0\0\0\0\0"


async def say_hello_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """To each connection the same time after it came."""
    await asyncio.sleep(_HELLO_S)
    with contextlib.suppress(OSError):
        writer.write(_SETTINGS)
        await writer.drain()
        await reader.read()
    writer.close()


@pytest.mark.parametrize("whose", ["service", "client"])
async def test_who_says_hello_late_is_waited_for(whose: str) -> None:
    server = await asyncio.start_server(say_hello_late, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    channel: grpc.aio.Channel = open_channel(address) if whose == "service" else Channels().to(address)
    async with asyncio.timeout(DEADLINE_S), channel:
        await channel.channel_ready()
    server.close()
