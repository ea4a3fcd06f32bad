"""Looks after the place of stored snapshots: sees which one is the newest, and puts this node's there in its turn."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fasttree.v1 import coordinator_pb2
from services.shared.domain.sentences import system_words
from services.shared.objects.objects import ObjectDamagedError, ObjectMissingError
from services.shared.serving.errors import FastTreeError
from services.treenode.node.runner import NodeRunner, now_s
from services.treenode.snapshots.others import told_nodes
from services.treenode.snapshots.saving import SnapshotWriter
from services.treenode.snapshots.state_file import StateDamagedError
from services.treenode.snapshots.store import Snapshot, SnapshotStore
from services.treenode.snapshots.stored.objects import About, StoredSnapshots
from services.treenode.snapshots.stored.settings import SnapshotStoreSettings
from services.treenode.snapshots.stored.turns import is_due, rank_of

#: Of the newest that are stored, so many are looked at for one that is good.
_LOOKED_AT_MAX = 8
#: How much later the pusher has to say where the log ends than it had when a snapshot beyond that was seen: what was on
#: its way meanwhile is heard by then.
_BEYOND_S = 10.0
#: Of what is wrong, so many characters go with each heartbeat; the log has all.
_PROBLEM_LENGTH_MAX = 1_000

logger = logging.getLogger(__name__)


class Seen(NamedTuple):
    """What it sees of the world around the node; another one's in tests of virtual time."""

    #: Every node that a coordinator knows; None where none answers.
    nodes: Callable[[NodeRunner], Awaitable[Sequence[coordinator_pb2.ClusterNode] | None]] = told_nodes
    #: The machine's clock that people read, in seconds since 1970.
    wall_s: Callable[[], float] = time.time
    #: One that never jumps.
    now_s: Callable[[], float] = now_s


class StoredKeeping:
    """One node's part in it. What it sees is told by `NodeRunner.stored`.

    Args:
        node: The node.
        store: Its own snapshots.
        writer: Who writes them, and knows their checksums.
        stored: The place.
        settings: How often.
        seen: The world around.
    """

    def __init__(
        self,
        node: NodeRunner,
        store: SnapshotStore,
        writer: SnapshotWriter,
        stored: StoredSnapshots,
        settings: SnapshotStoreSettings,
        seen: Seen = Seen(),  # noqa: B008 - nothing in it changes
    ) -> None:
        self._node, self._store, self._writer = node, store, writer
        self._stored, self._settings, self._seen = stored, settings, seen
        #: The newest that is good, as far as names and sizes tell; None where there is none.
        self.newest: About | None = None
        #: Since when it is known that there is none.
        self._none_since_s: float | None = None
        #: When the pusher said where the log ends, by its clock, as the newest was first seen to be beyond that.
        self._beyond_since_s: float | None = None
        #: What is wrong, as it was told last.
        self._problem = ""
        node.stored = coordinator_pb2.StoredSnapshot(place=stored.objects.place)

    async def run(self) -> None:
        """Looks, puts, and rests; ends when it is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._settings.snapshot_look_s)

    async def look(self) -> None:
        """One look, and what is to be done now; what goes wrong is told, and tried again at the next one."""
        try:
            problem = await self._see()
            if (snapshot := await self._due()) is not None:
                async with asyncio.timeout(self._settings.snapshot_store_s_max):
                    await self._put(*snapshot)
                problem = await self._see()
        except TimeoutError:
            problem = (
                f"the store of snapshots, {self._stored.objects.place}: storing one took longer than "
                f"treenode.snapshot_store_s_max, {self._settings.snapshot_store_s_max:g} s"
            )
        except (FastTreeError, ObjectMissingError, StateDamagedError, OSError, ValueError, KeyError) as error:
            problem = system_words(error)
        self._tell(problem)

    @property
    def age_s(self) -> float:
        """How old the newest is, by this machine's clock; 0 where there is none."""
        return max(0.0, self._seen.wall_s() - self.newest.written_at_s) if self.newest is not None else 0.0

    async def _see(self) -> str:
        """Finds the newest that is good; what is wrong with newer ones. Raises StoreAwayError."""
        log_id = self._node.core.sequence.log_id
        if not log_id:
            return ""
        self.newest, problems = None, list[str]()
        for each in (await self._stored.whole(log_id))[:_LOOKED_AT_MAX]:
            try:
                found = await self._stored.described(each, log_id)
                problem = await self._stored.problem(each, found)
            except ObjectMissingError:
                continue  # removed just now
            except ObjectDamagedError as error:
                problem = str(error)
            if not problem:
                self.newest = found.about
                break
            problems.append(problem)
        self._none_since_s = None if self.newest is not None else self._none_since_s or self._seen.now_s()
        return "; ".join([*problems, *self._beyond()])

    def _beyond(self) -> list[str]:
        """Whether the newest is of updates that the log does not have: a copy of this cluster stores there too. Where
        the log itself has lost its end, nodes with what it lacks refuse it, and say so themselves."""
        log_end = self._node.core.sequence.log_end
        if self.newest is None or log_end is None or self.newest.position <= log_end.position:
            self._beyond_since_s = None
            return []
        if self._beyond_since_s is None:
            self._beyond_since_s = log_end.sent_at_s
        if log_end.sent_at_s - self._beyond_since_s < _BEYOND_S:
            return []
        return [
            f"the store of snapshots, {self._stored.objects.place}, has one of position {self.newest.position}, and "
            f"the log ends at {log_end.position}: another cluster of this name that began as a copy of this one stores "
            "there too; give each a place of its own, since what one stores is removed for the other's, and an empty "
            "node may start from it"
        ]

    async def _due(self) -> tuple[Snapshot, dict[str, Any]] | None:
        """The snapshot that this node has to store now, with its label."""
        node = self._node
        log_id = node.core.sequence.log_id
        own = await asyncio.to_thread(self._store.find, 0, 0)
        if own is None or not log_id or node.old is not None or not node.core.life.ready:
            return None
        rank = 0
        if node.cluster.coordinator:
            nodes = await self._seen.nodes(node)
            found = rank_of(node.settings.name, nodes) if nodes is not None else None
            if found is None:  # nobody knows whose turn it is
                return None
            rank = found
        newest = self.newest.state if self.newest is not None else None
        age_s = self._seen.wall_s() - self.newest.written_at_s if self.newest is not None else self._none_for_s()
        if not is_due(rank, (own.import_id, own.position), newest, age_s, self._settings.snapshot_store_interval_s):
            return None
        label = await asyncio.to_thread(self._store.label_of, own)
        return (own, label) if label.get("log_id") == log_id else None

    def _none_for_s(self) -> float:
        return self._seen.now_s() - self._none_since_s if self._none_since_s is not None else 0.0

    async def _put(self, snapshot: Snapshot, label: dict[str, Any]) -> None:
        """Raises as `StoredSnapshots.put`."""
        began_s, path = time.perf_counter(), Path(snapshot.path)
        is_new = await self._stored.put(label, path, await self._writer.checksum(snapshot))
        logger.info(
            "snapshot of import %d at position %d: %s in %s, %.1f s",
            snapshot.import_id,
            snapshot.position,
            "stored" if is_new else "was stored by another node",
            self._stored.objects.place,
            time.perf_counter() - began_s,
        )

    def _tell(self, problem: str) -> None:
        told = coordinator_pb2.StoredSnapshot(place=self._stored.objects.place, problem=problem[:_PROBLEM_LENGTH_MAX])
        if self.newest is not None:
            told.import_id, told.position = self.newest.state
            told.written_at.FromSeconds(self.newest.written_at_s)
        if problem and problem != self._problem:
            logger.error("%s", problem)
        elif self._problem and not problem:
            logger.info("the store of snapshots is well again")
        self._problem = problem
        self._node.stored = told
