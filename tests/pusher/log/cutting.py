"""A way to an engine's server that is cut at a write: before that gets there, or before its answer is back. Or held at
any word of its client's, until that is said to go on or to be lost."""

from __future__ import annotations

import contextlib
import socket
import threading
from abc import ABC, abstractmethod


class CuttingProxy(ABC):
    """Listens, and passes on. What a write and its answer look like is the engine's.

    Attributes:
        cut: "before": the next write never arrives; "after": it does, its answer not; empty: nothing is cut.
        down: Takes no new connection.
        held: A word waits, and all behind it.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.cut = ""
        self.down = False
        self.cuts = 0
        self.held = threading.Event()
        self._goes = threading.Event()
        self._words = threading.Lock()
        #: So many words pass before one waits; negative: none does.
        self._passing = -1
        self._is_lost = False
        self._sockets: list[socket.socket] = []
        self._listener = listener
        threading.Thread(target=self._listen, daemon=True).start()

    @abstractmethod
    def connect(self) -> socket.socket:
        """A connection to the server."""

    @abstractmethod
    def is_write(self, data: bytes) -> bool:
        """Whether what a client sends holds the end of a write."""

    @abstractmethod
    def is_answer(self, data: bytes) -> bool:
        """Whether what comes from the server then says that it was done."""

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.down:
                    client.close()
                    continue
                server = self.connect()
                self._sockets += [client, server]
                swallow = threading.Event()
                for way in (self._to_server, self._to_client):
                    threading.Thread(target=way, args=(client, server, swallow), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket, swallow: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                if self.cut and self.is_write(data):
                    cut, self.cut = self.cut, ""
                    self.cuts += 1
                    if cut == "before":
                        break
                    swallow.set()
                if not self._may_pass():
                    break
                server.sendall(data)
            _end(client, server)

    def _to_client(self, client: socket.socket, server: socket.socket, swallow: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                if not swallow.is_set():
                    client.sendall(data)
                elif self.is_answer(data):
                    break
            _end(client, server)

    def hold_after(self, passing: int) -> None:
        """So many words pass from now on; the next one waits, and all behind it, on any connection."""
        with self._words:
            self._passing = passing
        self._is_lost = False
        self.held.clear()
        self._goes.clear()

    def let_go(self) -> None:
        """What waits goes on; nothing is held any more."""
        with self._words:
            self._passing = -1
        self._goes.set()

    def lose(self) -> None:
        """What waits is lost, and every connection: as of a process that was killed."""
        self.down = self._is_lost = True
        self.hang_up()
        self.let_go()

    def _may_pass(self) -> bool:
        with self._words:
            waits = self._passing == 0
            self._passing -= self._passing > 0
        if waits:
            self.held.set()
            self._goes.wait()
        return not (waits and self._is_lost)

    def hang_up(self) -> None:
        """Ends every connection that there is."""
        _end(*self._sockets)
        self._sockets.clear()

    def close(self) -> None:
        """Ends every connection, and takes no more."""
        self.let_go()
        _end(self._listener)
        self.hang_up()


def _end(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
