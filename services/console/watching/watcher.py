"""The cluster as it is, asked once however many browsers look.

The coordinator tells each change by itself; the pusher and the nodes are asked. Who is away is asked on and on, and
said to be away: what was last known of it is not shown as if it were so now.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from fasttree.client import CallError, Client, FastTreeClientError
from fasttree.client.status.cluster import status_json
from fasttree.client.status.problems import Problem, problems_of, server_problems
from fasttree.client.status.servers import servers_json
from fasttree.v1 import coordinator_pb2, pusher_pb2, treenode_pb2
from services.console.settings import WatchSettings
from services.console.watching.history import Changes, LagHistory

#: What each of several servers has to answer in, in seconds.
_EACH_S = 1.0


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Watcher:
    """What is known now. `run` keeps it so."""

    def __init__(self, client: Client, settings: WatchSettings, wall_ms: Callable[[], int] = _wall_ms) -> None:
        self._client = client
        self._settings = settings
        self._wall_ms = wall_ms
        self._view: coordinator_pb2.Cluster | None = None
        self._pusher: pusher_pb2.GetPusherResponse | None = None
        self._nodes: dict[str, treenode_pb2.GetNodeResponse] = {}
        #: What each of several coordinators said, and each of several pushers, by its address.
        self._coordinators: dict[str, coordinator_pb2.Cluster | CallError] = {}
        self._pushers: dict[str, pusher_pb2.GetPusherResponse | CallError] = {}
        self._problems: dict[str, Problem] = {}
        #: What is known to other parts of the console.
        self.further: Callable[[], Iterable[Problem]] = tuple
        self._heard_s = 0.0
        self.lag = LagHistory(max(int(settings.history_s / settings.poll_s), 10))
        self._changes = Changes(settings.changes_max)
        self._news = asyncio.Event()

    @property
    def answers(self) -> bool:
        """Whether coordinator or pusher has said something that holds now."""
        return self._view is not None or self._pusher is not None

    def node_addresses(self) -> dict[str, coordinator_pb2.NodeAddress]:
        """Where each node is, as the coordinator knows."""
        return {node.address.name: node.address for node in self._view.nodes} if self._view is not None else {}

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            asking = (self._ask_coordinator(), self._ask_pusher(), self._ask_each(), self._ask_nodes())
            for work in (self._watch(), *asking):
                tasks.create_task(work)

    async def news(self) -> AsyncIterator[None]:
        """Once at the beginning, then whenever something was heard; what came meanwhile counts once."""
        while True:
            event = self._news
            yield
            await event.wait()

    def state(self) -> dict[str, Any]:
        """All that the page of the cluster shows, but the graph."""
        status = status_json(self._view, self._pusher)
        servers = servers_json(status["pushers"], self._coordinators, self._pushers)
        of_servers = server_problems(servers, has_view=self._view is not None)
        of_cluster = sorted((*problems_of(status), *of_servers), key=lambda problem: not problem.fault)
        problems = [*self._problems.values(), *self.further(), *of_cluster]
        return {
            "at": self._wall_ms(),
            "status": {**status, **servers},
            "problems": [problem.json() for problem in problems],
            "software": {
                part: answer.software_version
                for part, answer in (("coordinator", self._view), ("pusher", self._pusher))
                if answer is not None
            },
            "holds": {name: _holds_json(answer) for name, answer in self._nodes.items()},
            "changes": self._changes.json(),
        }

    def _tell(self) -> None:
        told, self._news = self._news, asyncio.Event()
        told.set()

    async def _watch(self) -> None:
        while True:
            try:
                async for view in self._client.watch_cluster():
                    self._saw(view)
            except FastTreeClientError as error:
                self._away("coordinator", error)
            await asyncio.sleep(self._settings.poll_s)

    def _saw(self, view: coordinator_pb2.Cluster) -> None:
        self._heard_s = time.monotonic()
        self._changes.saw_cluster(self._wall_ms(), view)
        self._view = view
        self._problems.pop("coordinator", None)
        self._tell()

    async def _ask_coordinator(self) -> None:
        """The stream above says nothing of why there is none."""
        while True:
            await asyncio.sleep(self._settings.poll_s)
            if time.monotonic() - self._heard_s < self._settings.answer_s:
                continue
            try:
                self._saw(await self._client.get_cluster())
            except FastTreeClientError as error:
                self._view = None
                self._away("coordinator", error)

    async def _ask_pusher(self) -> None:
        while True:
            try:
                self._pusher = await self._client.get_pusher()
                self._changes.saw_pusher(self._wall_ms(), self._pusher)
                self._problems.pop("pusher", None)
                self._tell()
            except FastTreeClientError as error:
                self._pusher = None
                self._away("pusher", error)
            self.lag.note(self._wall_ms(), self._pusher)
            await asyncio.sleep(self._settings.poll_s)

    async def _ask_each(self) -> None:
        """Who stands by says nothing by itself, and who is away neither."""
        while True:
            with contextlib.suppress(FastTreeClientError):  # told by who asks the active one
                self._coordinators = await self._client.get_each_cluster(_EACH_S)
            with contextlib.suppress(FastTreeClientError):
                self._pushers = await self._client.get_each_pusher(_EACH_S)
            self._tell()
            await asyncio.sleep(self._settings.node_poll_s)

    async def _ask_nodes(self) -> None:
        while True:
            places = {name: place.instant for name, place in self.node_addresses().items() if place.instant}
            answers = await asyncio.gather(*map(self._client.get_node, places.values()), return_exceptions=True)
            self._nodes = {
                name: answer
                for name, answer in zip(places, answers, strict=True)
                if isinstance(answer, treenode_pb2.GetNodeResponse)
            }
            for answer in answers:
                if isinstance(answer, BaseException) and not isinstance(answer, CallError):
                    raise answer
            self._tell()
            await asyncio.sleep(self._settings.node_poll_s)

    def _away(self, part: str, error: FastTreeClientError) -> None:
        text = f"the {part} does not answer: {error}"
        self._problems[part] = Problem(text=text, alert="FastTreeServiceDown", fault=True)
        self._tell()


def _holds_json(answer: treenode_pb2.GetNodeResponse) -> dict[str, Any]:
    """What one node says of itself."""
    return {
        "members": answer.members,
        "held": answer.held,
        "rejected": answer.rejected,
        "fresh_at": answer.fresh_at.ToMilliseconds() if answer.HasField("fresh_at") else None,
        "refused_reason": answer.refused_reason,
        "kept_periods": [kept.period for kept in answer.kept_periods],
        "kept_periods_problem": answer.kept_periods_problem,
        "rule_version": answer.status.rule_version,
        "software_version": answer.software_version,
        "lease_left_ms": answer.lease_left_ms,
    }
