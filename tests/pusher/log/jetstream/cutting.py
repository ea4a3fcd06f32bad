"""A way to a NATS server that is cut at a message to a stream: before that gets there, or before its answer is back."""

from __future__ import annotations

import contextlib
import socket
import threading


class CuttingProxy:
    """Listens on a port of its own.

    Attributes:
        cut: "before": the next message never arrives; "after": it does, its answer not; empty: nothing is cut.
        down: Takes no new connection.
    """

    def __init__(self, port: int, stream: str) -> None:
        self._server, self._stream = ("127.0.0.1", port), stream.encode()
        self.cut = ""
        self.down = False
        self.cuts = 0
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self._listener.getsockname()[1]}"

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.down:
                    client.close()
                    continue
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                swallow = threading.Event()
                for way in (self._to_server, self._to_client):
                    threading.Thread(target=way, args=(client, server, swallow), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket, swallow: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                if self.cut and b"HPUB " + self._stream in data:
                    cut, self.cut = self.cut, ""
                    self.cuts += 1
                    if cut == "before":
                        break
                    swallow.set()
                server.sendall(data)
            _end(client, server)

    def _to_client(self, client: socket.socket, server: socket.socket, swallow: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                if swallow.is_set():
                    if b'"seq"' not in data:  # not the answer yet
                        continue
                    break
                client.sendall(data)
            _end(client, server)

    def hang_up(self) -> None:
        """Ends every connection that there is."""
        _end(*self._sockets)
        self._sockets.clear()

    def close(self) -> None:
        """Ends every connection, and takes no more."""
        _end(self._listener)
        self.hang_up()


def _end(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
