"""A way to a PostgreSQL server that is cut at a commit."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.pusher.log.cutting import CuttingProxy


class PostgresqlProxy(CuttingProxy):
    """As a server does on a unix socket of port 5432 in `folder`."""

    def __init__(self, folder: Path, server: Path) -> None:
        self.folder, self._server = folder, server
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / ".s.PGSQL.5432"))
        listener.listen()
        super().__init__(listener)

    def connect(self) -> socket.socket:
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(self._server))
        return server

    def is_write(self, data: bytes) -> bool:
        return b"; COMMIT" in data

    def is_answer(self, data: bytes) -> bool:
        """Whatever comes: it is done there."""
        return True
