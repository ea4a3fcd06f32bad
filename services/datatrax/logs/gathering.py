"""One log of all nodes: each line begins with the node's name.

The end of it is that of each node's, merged by the times that the lines begin with. Nodes are followed only while
somebody follows here: each by one stream, however many read. A node that can't be had is a line, said once.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
from collections.abc import AsyncIterator

from services.datatrax.logs.asking import NodeError, NodePages
from services.datatrax.logs.places import NodePlaces
from services.shared.backoff import Backoff, Waits
from services.shared.debug.broadcast import Broadcast
from services.shared.debug.debug_log import LINES_MAX

#: Nodes that are asked at a time, of all who ask.
_ASKED_AT_ONCE = 8
#: How often is looked who is in the cluster, while somebody follows, in seconds.
_LOOK_S = 2.0
#: Before a node is asked again, in seconds.
_WAIT_S, _WAIT_S_MAX = 0.5, 10.0


class GatheredLog:
    """A log by its page's path at every node. A `LineSource` of pages; `close` ends what is under way."""

    def __init__(self, path: str, places: NodePlaces, pages: NodePages) -> None:
        self._path, self._places, self._pages = path, places, pages
        self._broadcast = Broadcast()
        self._asked = asyncio.Semaphore(_ASKED_AT_ONCE)
        #: Runs while somebody follows.
        self._gathering: asyncio.Task[None] | None = None

    async def last(self, lines: int) -> list[str]:
        """The newest lines of all nodes, oldest first; behind them, which nodes did not answer."""
        wanted = max(0, min(lines, LINES_MAX))
        places = await self._places.now()
        found: list[tuple[str, str]] = []
        problems = [self._places.problem] if self._places.problem else []
        for asked in asyncio.as_completed([self._last_of(name, place, wanted) for name, place in places.items()]):
            ends, problem = await asked
            found = list(heapq.merge(found, ends, key=lambda line: line[0]))[-wanted:] if wanted else []
            problems += [problem] if problem else []
        if not places and not problems:
            problems.append("no node is known to the coordinator")
        return [line for _, line in found] + sorted(problems)

    async def follow(self) -> AsyncIterator[str]:
        """Lines of every node as they come, on and on. Raises TooManyFollowersError."""
        if self._gathering is None:
            self._gathering = asyncio.create_task(self._gather())
        try:
            async with contextlib.aclosing(self._broadcast.follow()) as lines:
                async for line in lines:
                    yield line
        finally:
            if not self._broadcast.heard:
                await self.close()

    async def close(self) -> None:
        """Follows no node any more."""
        gathering, self._gathering = self._gathering, None
        if gathering is not None:
            gathering.cancel()
            await asyncio.gather(gathering, return_exceptions=True)

    async def _last_of(self, name: str, place: str, lines: int) -> tuple[list[tuple[str, str]], str]:
        """(time, line) of each, and what is wrong."""
        async with self._asked:
            try:
                found = await self._pages.last(place, self._path, lines)
            except NodeError as error:
                return [], f"{name} can't be read: {error}"
        # A line without a time goes with the one before it.
        dated, stamp = [], ""
        for line in found:
            stamp = _stamp(line) or stamp
            dated.append((stamp, f"{name} {line}"))
        return dated, ""

    async def _gather(self) -> None:
        """Follows every node, and whoever comes."""
        following: dict[tuple[str, str], asyncio.Task[None]] = {}
        try:
            while True:
                places = set((await self._places.now()).items())
                for gone in following.keys() - places:
                    following.pop(gone).cancel()
                for name, place in places - following.keys():
                    following[name, place] = asyncio.create_task(self._follow_node(name, place))
                await asyncio.sleep(_LOOK_S)
        finally:
            for task in following.values():
                task.cancel()
            await asyncio.gather(*following.values(), return_exceptions=True)

    async def _follow_node(self, name: str, place: str) -> None:
        waits, said = Waits(Backoff(_WAIT_S, _WAIT_S_MAX, random.random)), ""
        path = f"{self._path}?follow=1&lines=0"
        while True:
            try:
                async for line in self._pages.follow(place, path):
                    waits.reset()
                    said = ""
                    self._broadcast.tell(f"{name} {line}")
            except NodeError as error:
                if str(error) != said:
                    said = str(error)
                    self._broadcast.tell(f"{name} can't be read: {said}; it is asked again")
            await asyncio.sleep(waits.next_s())


def _stamp(line: str) -> str:
    """The time that a line begins with; empty where it begins with none."""
    stamp = line.partition(" ")[0]
    return stamp if stamp[:1].isdigit() and stamp.endswith("Z") and "T" in stamp else ""
