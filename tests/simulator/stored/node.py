"""A simulated node's part in stored snapshots: the real keeping, finding and fetching, over its toy disk.

Does for the real code what `services/treenode/snapshots/store.py`, `saving.py`, `others.py` and `peers.py` do on a
server.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from fasttree.v1 import coordinator_pb2, treenode_pb2
from services.shared.files.downloads import DownloadFailedError, Wanted, fetch
from services.shared.files.sealed.names import state_name
from services.shared.serving.errors import FastTreeError
from services.treenode.node.search import (
    AskPeer,
    FetchSnapshot,
    FindStored,
    PeerFailed,
    PeersFound,
    PeerSnapshot,
    SnapshotOffered,
    SnapshotRead,
)
from services.treenode.snapshots.store import Snapshot as OwnFile
from services.treenode.snapshots.stored.keeping import Seen, StoredKeeping
from services.treenode.snapshots.stored.objects import StoredSnapshots
from services.treenode.snapshots.stored.settings import SnapshotStoreSettings
from services.treenode.snapshots.stored.source import StoredSource
from services.treenode.tree import StateError
from tests.simulator.node_state import Snapshot, wall_s
from tests.simulator.stored.bucket import TIMEOUT_S, Bucket, BucketObjects
from tests.simulator.stored.form import decode, encode
from tests.simulator.stored.loop import VirtualLoop

if TYPE_CHECKING:
    from services.treenode.node.node import NodeCore
    from services.treenode.node.runner import NodeRunner
    from services.treenode.snapshots.saving import SnapshotWriter
    from services.treenode.snapshots.store import SnapshotStore
    from tests.simulator.node_process import NodeProcess
    from tests.simulator.toy_tree import ToyTree

PART_BYTES = 600
SETTINGS = SnapshotStoreSettings(
    snapshot_store_interval_s=15.0, snapshot_look_s=3.0, snapshot_store_s_max=20.0, snapshots_stored=2
)
_TOLD_S = 0.05
_UNFIT = (DownloadFailedError, StateError, FastTreeError, ValueError, KeyError, OSError)


class _Runner:
    """What the real keeping sees of a node's runner."""

    def __init__(self, node: NodeProcess) -> None:
        self._node = node
        self.settings, self.cluster = SimpleNamespace(name=node.name), SimpleNamespace(coordinator="coordinator")
        self.stored = coordinator_pb2.StoredSnapshot()

    @property
    def core(self) -> NodeCore:
        return self._node.core

    @property
    def old(self) -> ToyTree | None:
        return self._node.old


class _OwnSnapshots:
    """The node's own, each as a file once it is asked for."""

    def __init__(self, node: NodeProcess, folder: Path) -> None:
        self._node, self._folder = node, folder
        self._written: Snapshot | None = None

    def find(self, _import_id: int, _position: int) -> OwnFile | None:
        """The newest, be it damaged or not."""
        saved: Snapshot | None = self._node.disk.read("snapshot")
        if saved is None:
            return None
        path = self._folder / f"{saved.tree.import_id}-{saved.tree.position}.snapshot"
        if saved is not self._written:
            self._folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(saved, self._node.name))
            self._written = saved
        return OwnFile(saved.tree.import_id, saved.tree.position, path)

    def label_of(self, own: OwnFile) -> dict[str, Any]:
        saved = self._written
        assert saved is not None
        state = {"log_id": saved.log_id, "import_id": own.import_id, "position": own.position}
        return {**state, "written_at_s": int(saved.written_at_s), "node": self._node.name}

    async def checksum(self, own: OwnFile) -> bytes:
        return hashlib.sha256(own.path.read_bytes()).digest()


class _WatchedSnapshots(StoredSnapshots):
    """The real ones, each put told to the checker."""

    def __init__(self, bucket: Bucket, objects: BucketObjects) -> None:
        super().__init__(objects, PART_BYTES, SETTINGS.snapshot_parallel, SETTINGS.snapshots_stored)
        self._bucket, self._own = bucket, objects

    async def put(self, label: Mapping[str, Any], path: Path, sha256: bytes) -> bool:
        checker, troubles, well = self._bucket.checker, self._own.troubles, False
        put = checker.begins(label["log_id"], label["import_id"], label["position"])
        try:
            is_new = await super().put(label, path, sha256)
            well = self._own.troubles == troubles
        finally:
            checker.ends(put, self._bucket.objects, well=well)
        return is_new


class NodeStore:
    """The store in one node's hands."""

    def __init__(self, node: NodeProcess, bucket: Bucket, folder: Path) -> None:
        self._node, self._bucket = node, bucket
        self._folder = folder / node.name
        self._loop: VirtualLoop | None = None
        self._manifests: dict[str, treenode_pb2.SnapshotManifest] = {}
        self._works: set[asyncio.Task[None]] = set()
        #: When the store was last asked what there is, and how often it had not answered well by then.
        self._found_at_s, self._troubles = 0.0, 0

    def __contains__(self, peer: str) -> bool:
        return peer in self._source

    def start(self) -> None:
        """A new life of the node."""
        node = self._node
        self._loop = loop = VirtualLoop(node)
        self._objects = BucketObjects(self._bucket, node, loop)
        stored = _WatchedSnapshots(self._bucket, self._objects)
        self._source = StoredSource(stored, TIMEOUT_S * (self._bucket.retries + 1) + 1.0)
        self._manifests.clear()
        own = _OwnSnapshots(node, self._folder)
        keeping = StoredKeeping(
            cast("NodeRunner", _Runner(node)),
            cast("SnapshotStore", own),
            cast("SnapshotWriter", own),
            stored,
            SETTINGS,
            Seen(self._told, lambda: wall_s(node), node.clock.now),
        )
        loop.spawn(keeping.run())

    def end(self) -> None:
        """The node has died."""
        if self._loop is not None:
            self._loop.end()
        self._loop = None
        self._works.clear()

    def wipe(self) -> None:
        """Its disk is gone."""
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _told(self, _runner: NodeRunner) -> Sequence[coordinator_pb2.ClusterNode] | None:
        """The nodes, as the coordinator says, if it does."""
        node, coordinator = self._node, self._node.cluster.coordinator
        await asyncio.sleep(_TOLD_S * self._bucket.random.random())
        if not coordinator.alive or coordinator.frozen or not node.network.reachable(node.name, coordinator.name):
            return None
        told: list[coordinator_pb2.ClusterNode] = []
        for lease in coordinator.core.leases:
            each = coordinator_pb2.ClusterNode(alive=lease.is_alive(coordinator.clock.now()))
            each.address.name, each.status.state = lease.node, cast("Any", int(lease.last.state))
            told.append(each)
        return told

    # ---- the search for a base

    def perform(self, action: FindStored | AskPeer | FetchSnapshot) -> None:
        """Does what the core asks for."""
        assert self._loop is not None
        work = self._loop.spawn(self._find(action) if isinstance(action, FindStored) else self._try(action))
        self._works.add(work)
        work.add_done_callback(self._works.discard)

    def stop(self) -> None:
        """The search is over."""
        for work in self._works:
            work.cancel()

    async def _find(self, action: FindStored) -> None:
        self._found_at_s, self._troubles = self._node.world.now, self._objects.troubles
        found: list[str] = []
        try:
            found = await self._source.find(self._node.core.sequence.log_id)
        except FastTreeError as error:
            self._node.note(f"can't look for stored snapshots: {error}")
        self._node.handle(PeersFound(action.search, tuple(found)))

    async def _try(self, action: AskPeer | FetchSnapshot) -> None:
        try:
            if isinstance(action, AskPeer):
                manifest = self._manifests[action.peer] = await self._source.manifest(action.peer)
                state = (manifest.log_id, manifest.import_id, manifest.position)
                event: SnapshotOffered | SnapshotRead = SnapshotOffered(
                    action.search, PeerSnapshot(*state, manifest.size_bytes)
                )
            else:
                event = await self._fetched(action)
        except _UNFIT as error:
            self._node.handle(PeerFailed(action.search, str(error) or repr(error)))
        else:
            self._node.handle(event)

    async def _fetched(self, action: FetchSnapshot) -> SnapshotRead:
        manifest, node = self._manifests[action.peer], self._node
        name = f"{manifest.import_id}-{manifest.position}"
        part = self._folder / f"peer-{name}-{manifest.sha256.hex()[:16]}.part"
        self._folder.mkdir(parents=True, exist_ok=True)
        for other in self._folder.glob("*.part"):
            if other != part:
                other.unlink()
        wanted = Wanted(manifest.size_bytes, manifest.sha256)
        source, sealed_as = self._source, state_name(f"{name}.snapshot")
        await fetch(wanted, part, [action.peer], source.chunks, source.silence_s, lambda _: None, sealed_as)
        data = part.read_bytes()
        part.unlink()
        saved = decode(data)
        log_end = node.core.sequence.log_end
        first = log_end.first_position if log_end is not None else 1
        well = self._objects.troubles == self._troubles
        self._bucket.checker.read(saved, first, self._found_at_s, self._bucket.objects, well=well)
        node.tell(f"has read what is stored of import {saved.tree.import_id}, position {saved.tree.position}")
        state = PeerSnapshot(saved.log_id, saved.tree.import_id, saved.tree.position, bare=saved.tree.is_bare)
        return SnapshotRead(action.search, node.loader.begin_snapshot(saved), state, saved.carried)
