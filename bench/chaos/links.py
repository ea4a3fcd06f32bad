"""Links between the parts of a cluster: TCP proxies that can cut, delay and break what goes through them.

One link for each pair of parts that speak, so that any pair can be parted while all others go on. It needs no rights:
where the kernel's own means (iptables in a network namespace) are not to be had, links alone do it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass, field

_READ_BYTES = 256 * 1024


@dataclass(frozen=True)
class LinkState:
    """How a link is.

    Attributes:
        cut: Nothing passes; what was sent waits in the socket buffers, as behind a dead switch.
        delay_s: Each piece comes so much later, both ways.
        break_after_bytes: Every connection is reset once that much more has come through; -1: none is.
    """

    cut: bool = False
    delay_s: float = 0.0
    break_after_bytes: int = -1


@dataclass(eq=False)
class _Connection:
    """One connection through a link: both sockets."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    #: Bytes until it is reset; -1: it is not.
    left_bytes: int = -1
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def reset(self) -> None:
        for writer in (self.near, self.far):
            writer.transport.abort()


class Link:
    """Takes connections from `listener`, and passes on to `target` (host:port)."""

    def __init__(self, listener: socket.socket, target: str) -> None:
        self._listener = listener
        self._target = target
        self._state = LinkState()
        self._open = asyncio.Event()
        self._open.set()
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """host:port of the near side."""
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    async def start(self) -> None:
        """Begins to pass on."""
        self._server = await asyncio.start_server(self._accept, sock=self._listener, limit=_READ_BYTES)

    async def stop(self) -> None:
        """Ends every connection."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            for task in connection.tasks:
                task.cancel()
            connection.reset()

    def set(self, state: LinkState) -> None:
        """From now on the link is like that."""
        self._state = state
        if state.cut:
            self._open.clear()
        else:
            self._open.set()
        for connection in self._connections:
            connection.left_bytes = state.break_after_bytes

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._target.rpartition(":")
        await self._open.wait()
        try:
            far_reader, far_writer = await asyncio.open_connection(host, int(port), limit=_READ_BYTES)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(writer, far_writer, self._state.break_after_bytes)
        self._connections.add(connection)
        connection.tasks = [
            asyncio.create_task(self._pass_on(connection, reader, far_writer)),
            asyncio.create_task(self._pass_on(connection, far_reader, writer)),
        ]
        await asyncio.wait(connection.tasks)
        connection.reset()
        self._connections.discard(connection)

    async def _pass_on(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                if self._state.delay_s:
                    await asyncio.sleep(self._state.delay_s)
                await self._open.wait()
                if 0 <= connection.left_bytes <= len(data):
                    writer.write(data[: connection.left_bytes])
                    await writer.drain()
                    break
                if connection.left_bytes > 0:
                    connection.left_bytes -= len(data)
                writer.write(data)
                await writer.drain()
            else:
                # The sender is done; the other way may go on.
                await self._open.wait()
                writer.write_eof()
                return
        connection.reset()
