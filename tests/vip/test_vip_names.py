"""An address outlives nobody: a node that comes back at another one is found by its name."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

from bench.cluster.cluster import free_port
from fasttree.command.local.vip import deploy_file, render_haproxy
from tests.vip.fronts import haproxy_program
from tests.waiting import until

NAME = "ftsp01.fasttree.test"
TYPE_A, CLASS_IN, ANSWERS = 1, 1, 0x8180


class NameServer(asyncio.DatagramProtocol):
    """Says of every name the address that it is told to."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked = 0

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        """Answers one question, with the question itself before the answer."""
        self.asked += 1
        end = data.index(b"\0", 12) + 5
        kind = struct.unpack("!H", data[end - 4 : end - 2])[0]
        answer = b""
        if kind == TYPE_A:
            answer = struct.pack("!HHHIH", 0xC00C, TYPE_A, CLASS_IN, 1, 4) + socket.inet_aton(self.address)
        header = data[:2] + struct.pack("!HHHHH", ANSWERS, 1, int(bool(answer)), 0, 0)
        self._transport.sendto(header + data[12:end] + answer, peer)


@contextlib.asynccontextmanager
async def health_server(host: str, port: int) -> AsyncIterator[list[str]]:
    """An HTTP port that answers every check; the paths that were asked for."""
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readline()).decode())
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, host, port):
        yield asked


async def test_haproxy_finds_a_node_that_came_back_at_another_address(tmp_path: Path) -> None:
    port = free_port()
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: NameServer("127.0.0.2"), local_addr=("127.0.0.1", 0)
    )
    names = f"nameserver test 127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    text = render_haproxy([(f"{NAME}:{free_port()}", f"{NAME}:{port}")], f"127.0.0.1:{free_port()}")
    assert text.count("parse-resolv-conf") == 1
    text = text.replace("parse-resolv-conf", names)
    # At the start, too: whoever runs this may have no name server of its own.
    text = text.replace("init-addr last,libc,none", "init-addr none")
    config = tmp_path / "haproxy.cfg"
    config.write_text(text)
    async with health_server("127.0.0.2", port) as before, health_server("127.0.0.3", port) as after:
        haproxy = await asyncio.create_subprocess_exec(
            haproxy_program(), "-db", "-f", str(config), cwd=deploy_file("haproxy/hold.lua").parent
        )
        try:
            await until(lambda: len(before) >= 3, "checks at the first address")
            assert not after
            server.address = "127.0.0.3"
            await until(lambda: len(after) >= 3, "checks at the other address")
            assert server.asked >= 2
        finally:
            haproxy.terminate()
            await haproxy.wait()
            transport.close()
