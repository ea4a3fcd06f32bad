"""What every fake is served by: a real port, the same one after each start."""

from __future__ import annotations

from typing import Any, Self

from services.shared.serving.server import GrpcServer

#: The cluster of every fake, and of the real services that meet them.
CLUSTER = "dot-test"


class Fake:
    """A service over plain dicts. Listens from `start` to `stop`; keeps its state in between."""

    #: What adds the services to a server, as gRPC generates it.
    adders: tuple[Any, ...]

    def __init__(self) -> None:
        self.address = ""
        self._server: GrpcServer | None = None

    async def start(self) -> Self:
        """Listens; at the same address as before, if it did before."""
        self._server = GrpcServer(self.address or "127.0.0.1:0", [(adder, self) for adder in self.adders], [])
        self.address = f"127.0.0.1:{await self._server.start()}"
        return self

    async def stop(self) -> None:
        """Ends all streams."""
        if self._server is not None:
            await self._server.stop(0)
            self._server = None
