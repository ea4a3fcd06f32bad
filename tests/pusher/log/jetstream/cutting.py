"""A way to a NATS server that is cut at a message to a stream."""

from __future__ import annotations

import socket

from tests.pusher.log.cutting import CuttingProxy


class NatsProxy(CuttingProxy):
    """On a port of its own."""

    def __init__(self, port: int, stream: str) -> None:
        self._server, self._stream = ("127.0.0.1", port), stream.encode()
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"nats://127.0.0.1:{listener.getsockname()[1]}"
        super().__init__(listener)

    def connect(self) -> socket.socket:
        return socket.create_connection(self._server)

    def is_write(self, data: bytes) -> bool:
        return b"HPUB " + self._stream in data

    def is_answer(self, data: bytes) -> bool:
        return b'"seq"' in data
