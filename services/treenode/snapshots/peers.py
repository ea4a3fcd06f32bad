"""Who else is in the cluster, and what to start from when the log alone can't bring this node on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import grpc.aio

from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc, treenode_pb2, treenode_pb2_grpc, types_pb2
from services.shared.backoff import Backoff, Waits
from services.shared.config.hosts_file import read_hosts_file
from services.shared.config.load import SettingsError
from services.shared.files.downloads import DownloadFailedError, Wanted, fetch
from services.shared.serving.channels import open_channel
from services.shared.serving.errors import FastTreeError
from services.shared.wire.record import RecordDamagedError
from services.treenode.node.node import LoadBegun, LoadFailed
from services.treenode.node.runner import NodeRunner
from services.treenode.replication.following import Following
from services.treenode.replication.pusher_log import PusherLog
from services.treenode.snapshots.saving import SnapshotWriter, last_record, restore_tree
from services.treenode.snapshots.state_file import StateDamagedError, read_state
from services.treenode.snapshots.store import SnapshotStore
from services.treenode.tree import StateError, Tree

BACKOFF_INITIAL_S = 0.2
BACKOFF_MAX_S = 10.0
CALL_TIMEOUT_S = 5.0
#: A peer may have to write a snapshot first.
SNAPSHOT_WAIT_S = 120.0

_READY = (coordinator_pb2.NODE_STATE_PASSIVE, coordinator_pb2.NODE_STATE_PRIMARY)

logger = logging.getLogger(__name__)


class PeerUnfitError(Exception):
    """A peer that has nothing which this node could start from."""


#: What a peer's snapshot may turn out to be, or not to be: the next peer is asked.
_UNFIT = (
    PeerUnfitError,
    DownloadFailedError,
    StateDamagedError,
    StateError,
    FastTreeError,
    RecordDamagedError,
    ValueError,
    KeyError,
    OSError,
)


async def ready_peers(node: NodeRunner, own_instant_address: str) -> list[str]:
    """Instant addresses of the other nodes, the furthest ready one first; without a coordinator, the host file's."""
    coordinator = node.cluster.coordinator
    if coordinator:
        try:
            async with open_channel(coordinator) as channel:
                stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
                answer = await stub.GetCluster(coordinator_pb2.GetClusterRequest(), timeout=CALL_TIMEOUT_S)
            peers = [
                peer
                for peer in answer.cluster.nodes
                if peer.alive and peer.status.state in _READY and peer.address.name != node.settings.name
            ]
            peers.sort(key=lambda peer: (peer.status.import_id, peer.status.position), reverse=True)
            return [peer.address.instant for peer in peers]
        except grpc.aio.AioRpcError as error:
            logger.warning("coordinator %s can't name peers: %s", coordinator, error.details())
    if not node.cluster.hosts_file:
        return []
    try:
        hosts = await asyncio.to_thread(read_hosts_file, Path(node.cluster.hosts_file))
    except SettingsError as error:
        logger.warning("%s", error)
        return []
    return [host.instant_address for host in hosts if host.instant_address != own_instant_address]


class Bootstrap:
    """Fetches a peer's snapshot when the node needs a base; an import that the pusher brings does as well."""

    def __init__(
        self,
        node: NodeRunner,
        store: SnapshotStore,
        writer: SnapshotWriter,
        own_instant_address: str,
        pusher_address: Callable[[], str],
    ) -> None:
        self._node = node
        self._store = store
        self._writer = writer
        self._own_instant_address = own_instant_address
        self._pusher_address = pusher_address

    async def run(self) -> None:
        """Waits until a base is wanted, and gets one; ends when it is cancelled."""
        waits = Waits(Backoff(BACKOFF_INITIAL_S, BACKOFF_MAX_S, random.random))
        while True:
            await self._node.base_wanted.wait()
            if self._node.core.sequence.base_wanted is None:
                self._node.base_wanted.clear()
                waits.reset()
                continue
            # While an import is being loaded, that will be the base.
            if self._node.loading[0]:
                await asyncio.sleep(waits.next_s())
            elif not await self._try_peers():
                logger.warning("still looks for a snapshot or an import: %s", self._node.core.sequence.base_wanted)
                await asyncio.sleep(waits.next_s())

    async def _try_peers(self) -> bool:
        node = self._node
        for peer in await ready_peers(node, self._own_instant_address):
            node.handle(LoadBegun(f"a snapshot of {peer}"))
            try:
                await self._take_from(peer)
                return True
            except _UNFIT as error:
                reason = str(error)
            except grpc.aio.AioRpcError as error:
                reason = f"{error.code().name}: {error.details()}"
            except TimeoutError:
                reason = "no answer in time"
            except BaseException as error:
                node.handle(LoadFailed(repr(error)))
                raise
            logger.warning("no snapshot from %s: %s", peer, reason)
            node.handle(LoadFailed(reason))
        return False

    async def _take_from(self, peer: str) -> None:
        node = self._node
        async with open_channel(peer) as channel:
            stub = treenode_pb2_grpc.TreeNodeServiceStub(channel)
            manifest = await _manifest_of(stub)
            self._check_fit(manifest)
            part = await asyncio.to_thread(self._store.incoming, manifest.import_id, manifest.position, manifest.sha256)

            async def chunks(source: str, offset: int) -> AsyncGenerator[types_pb2.Chunk, None]:
                request = treenode_pb2.DownloadSnapshotRequest(
                    import_id=manifest.import_id, position=manifest.position, offset=offset
                )
                async for response in stub.DownloadSnapshot(request):
                    if response.HasField("chunk"):
                        yield response.chunk

            wanted = Wanted(manifest.size_bytes, manifest.sha256)
            await fetch(wanted, part, [peer], chunks, node.settings.download_silence_s, lambda share: None)
        await self._take(part, manifest)

    async def _take(self, part: Path, manifest: treenode_pb2.SnapshotManifest) -> None:
        node = self._node
        try:
            state = await asyncio.to_thread(read_state, part)
            if state.label["cluster"] != node.cluster.name:
                raise PeerUnfitError(f"its snapshot is of cluster {state.label['cluster']}")
            tree = await asyncio.to_thread(restore_tree, state)
            import_id, position = tree.import_id, tree.position
            if not await self._swap(tree, state.label, manifest):
                return
            await asyncio.to_thread(self._store.take, part, import_id, position)
        finally:
            await asyncio.to_thread(self._store.discard, part)
        self._writer.restored(import_id, position)
        logger.info("starts from a peer's snapshot: import %d, position %d", import_id, position)

    async def _swap(self, tree: Tree, label: dict[str, Any], manifest: treenode_pb2.SnapshotManifest) -> bool:
        """Puts the snapshot's tree in the live one's place; False where an import was quicker."""
        node = self._node
        carried = list(label["carried_positions"])
        if node.core.sequence.records_wait:
            async with node.gate.write():
                if node.core.sequence.base_wanted is None:
                    return False
                self._check_fit(manifest)
                node.carried_positions = carried
                node.take_tree(tree, label["log_id"], last_record(label))
            return True
        # The node goes on meanwhile: the tree follows the log, from behind what is damaged, to where the node is.
        async with node.succession:
            if node.core.sequence.base_wanted is None:
                return False
            self._check_fit(manifest)

            def take_carried() -> None:
                node.carried_positions = carried

            following = Following(node, tree, lambda share: None, take_carried)
            async with PusherLog(self._pusher_address()) as log:
                await following.swap(log)
        return True

    def _check_fit(self, manifest: treenode_pb2.SnapshotManifest) -> None:
        """Raises PeerUnfitError where the snapshot would not bring this node on."""
        node = self._node
        sequence = node.core.sequence
        log_end = sequence.log_end
        if sequence.log_id and manifest.log_id != sequence.log_id:
            raise PeerUnfitError(f"its snapshot is of log {manifest.log_id}, this node's is {sequence.log_id}")
        if log_end is not None and manifest.position + 1 < log_end.first_position:
            raise PeerUnfitError(
                f"its snapshot ends at {manifest.position}, the log begins at {log_end.first_position}"
            )
        is_behind = sequence.records_wait and manifest.position < sequence.position
        if is_behind or manifest.import_id < sequence.base_import_id:
            raise PeerUnfitError(
                f"its snapshot of import {manifest.import_id} at {manifest.position} is too old for this node"
            )
        if manifest.size_bytes > node.settings.snapshot_bytes_max:
            raise PeerUnfitError(f"its snapshot has {manifest.size_bytes} bytes: more than treenode.snapshot_bytes_max")


async def _manifest_of(stub: treenode_pb2_grpc.TreeNodeServiceAsyncStub) -> treenode_pb2.SnapshotManifest:
    """The manifest of the peer's newest snapshot, which it may have to write first."""
    call = stub.DownloadSnapshot(treenode_pb2.DownloadSnapshotRequest())
    try:
        async with asyncio.timeout(SNAPSHOT_WAIT_S):
            response = await anext(aiter(call), None)
    finally:
        call.cancel()
    if response is None or not response.HasField("manifest"):
        raise PeerUnfitError("it sent no manifest")
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
        await call.code()
    return response.manifest
