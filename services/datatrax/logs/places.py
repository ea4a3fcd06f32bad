"""Where the nodes' pages are, as the coordinator says; the last answer counts while it is away."""

from __future__ import annotations

import asyncio

from fasttree.client import Client, FastTreeClientError
from services.shared.domain.addresses import address_problem
from services.shared.domain.sentences import plain

#: How old an answer may be, in seconds.
_FRESH_S = 2.0
_NOBODY = "cluster.coordinator is empty, and knows where the nodes are: name it"


class NodePlaces:
    """host:port of each node's HTTP port, by the node's name."""

    def __init__(self, client: Client | None) -> None:
        """`client`: None where no coordinator is named."""
        self._client = client
        self._known: dict[str, str] = {}
        self._known_at_s = float("-inf")
        self._asking = asyncio.Lock()
        #: Why what is known may be old; empty: it is not.
        self.problem = "" if client is not None else _NOBODY

    async def now(self) -> dict[str, str]:
        """Those that are known now: nodes that live, or did when the coordinator was last heard."""
        async with self._asking:
            loop = asyncio.get_running_loop()
            if self._client is not None and loop.time() - self._known_at_s > _FRESH_S:
                try:
                    cluster = await self._client.get_cluster()
                    places = {node.address.name: node.address.http for node in cluster.nodes if node.alive}
                    # Nodes name themselves: what is no address is asked for nothing.
                    self._known = {name: place for name, place in places.items() if not address_problem(place)}
                    self.problem = ""
                except FastTreeClientError as error:
                    self.problem = plain(str(error))
                self._known_at_s = loop.time()
            return dict(self._known)
