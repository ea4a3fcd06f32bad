"""The logs of this host's pages: the nodes' gathered, and beside them those of its own."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from fasttree.client import Client, Endpoints, Retries
from services.datatrax.logs.asking import NodePages
from services.datatrax.logs.gathering import GatheredLog
from services.datatrax.logs.places import NodePlaces
from services.datatrax.messages.senders.hits import HITS_LOG
from services.shared.debug.debug_log import NODE_LOG, PUSH_LOG
from services.shared.debug.pages import DebugPages, LineSource

#: Logs that this host has only where it does what they are of.
_ABSENT: Final = {
    HITS_LOG: f"{HITS_LOG} is there once messages are sent: set datatrax.message_folder and message_channels_file"
}


class HostLogs:
    """Everything behind /debug and /debug.txt, until `close`."""

    def __init__(self, coordinator: str, answer_s: float) -> None:
        """`answer_s`: how long the coordinator, or a node, may take to answer."""
        patient = Retries(timeout_s=answer_s, patience_s=answer_s)
        self._client = Client(Endpoints(coordinator=coordinator), retries=patient)
        self._nodes = NodePages(answer_s)
        places = NodePlaces(self._client if coordinator else None)
        self._gathered = {name: GatheredLog(f"/debug/{name}", places, self._nodes) for name in (NODE_LOG, PUSH_LOG)}
        self._echo = GatheredLog("/debug.txt", places, self._nodes)
        #: By the names that they have in a browser. What this host writes itself is added here.
        self.sources: dict[str, LineSource] = dict(self._gathered)
        self._pages = DebugPages(self.sources, self._echo.follow, _ABSENT)

    def routes(self) -> list[web.RouteDef]:
        """Where the pages are."""
        return self._pages.routes()

    def end(self) -> None:
        """Ends who follows: before the port is closed."""
        self._pages.end()

    async def close(self) -> None:
        """Ends the ways to the nodes: after the port is closed."""
        for log in (*self._gathered.values(), self._echo):
            await log.close()
        await self._nodes.close()
        await self._client.close()
