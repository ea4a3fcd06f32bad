"""What to start from when the log alone can't bring this node on: a peer's snapshot, or one that is stored."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from pathlib import Path

import grpc.aio

from fasttree.v1 import treenode_pb2, treenode_pb2_grpc, types_pb2
from services.shared.files.downloads import DownloadFailedError, Wanted, fetch
from services.shared.files.sealed.names import state_name
from services.shared.serving.channels import open_channel
from services.shared.serving.errors import FastTreeError
from services.shared.wire.record import RecordDamagedError
from services.treenode.node.cutover_events import Taken
from services.treenode.node.runner import NodeRunner
from services.treenode.node.search import (
    AskPeer,
    FetchSnapshot,
    FindPeers,
    FindStored,
    PassOver,
    PeerFailed,
    PeersFound,
    PeerSnapshot,
    SnapshotOffered,
    SnapshotRead,
    StopSearch,
)
from services.treenode.replication.build_runner import BuildRunner
from services.treenode.snapshots.others import ready_peers
from services.treenode.snapshots.saving import Label, SnapshotWriter, restore_tree
from services.treenode.snapshots.state_file import StateDamagedError, read_state
from services.treenode.snapshots.store import SnapshotStore
from services.treenode.snapshots.stored.source import StoredSource
from services.treenode.tree import StateError, Tree

#: A peer may have to write a snapshot first.
SNAPSHOT_WAIT_S = 120.0

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


class Peers:
    """Performs the search for a base (`services/treenode/node/search.py`): asks peers, and fetches a snapshot.

    `stored`: where snapshots outlive all nodes; None where no such place is set.
    """

    def __init__(
        self,
        node: NodeRunner,
        store: SnapshotStore,
        writer: SnapshotWriter,
        own_instant_address: str,
        pusher_address: Callable[[], str],
        stored: StoredSource | None = None,
    ) -> None:
        self._node = node
        self._store = store
        self._stored = stored
        self._writer = writer
        self._own_instant_address = own_instant_address
        self._pusher_address = pusher_address
        #: What each peer offered in the search under way.
        self._offered: dict[str, treenode_pb2.SnapshotManifest] = {}

    async def run(self) -> None:
        """Does what the search asks for; ends when it is cancelled."""
        works: set[asyncio.Task[None]] = set()
        try:
            while True:
                action = await self._node.search_actions.get()
                match action:
                    case StopSearch():
                        for work in works:
                            work.cancel()
                    case PassOver():
                        logger.warning("no snapshot from %s: %s", action.peer, action.reason)
                    case FindPeers():
                        self._begin(self._find(action), works)
                    case FindStored():
                        self._begin(self._find_stored(action), works)
                    case AskPeer() | FetchSnapshot():
                        self._begin(self._try(action), works)
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)

    async def _find(self, action: FindPeers) -> None:
        self._offered.clear()
        peers = await ready_peers(self._node, self._own_instant_address)
        self._node.handle(PeersFound(action.search, tuple(peers), has_store=self._stored is not None))

    async def _find_stored(self, action: FindStored) -> None:
        assert self._stored is not None
        found: list[str] = []
        try:
            found = await self._stored.find(self._node.core.sequence.log_id)
            if not found:
                logger.warning("no snapshot of this log is stored in %s", self._stored.place)
        except FastTreeError as error:
            logger.warning("stored snapshots can't be looked for: %s", error)
        self._node.handle(PeersFound(action.search, tuple(found)))

    async def _try(self, action: AskPeer | FetchSnapshot) -> None:
        """Asks a peer, or fetches from it, and says what came of it."""
        reason = ""
        try:
            match action:
                case AskPeer(search, peer):
                    self._node.handle(SnapshotOffered(search, await self._ask(peer)))
                case FetchSnapshot(search, peer):
                    await self._fetch(search, peer)
        except _UNFIT as error:
            reason = str(error) or repr(error)
        except grpc.aio.AioRpcError as error:
            reason = f"{error.code().name}: {error.details()}"
        except TimeoutError:
            reason = "no answer in time"
        if reason:
            self._node.handle(PeerFailed(action.search, reason))

    def _begin(self, work: Coroutine[None, None, None], works: set[asyncio.Task[None]]) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # no fault of a peer
                self._node.fail(error)

        task = asyncio.create_task(guarded())
        works.add(task)
        task.add_done_callback(works.discard)

    def _is_stored(self, peer: str) -> bool:
        return self._stored is not None and peer in self._stored

    async def _ask(self, peer: str) -> PeerSnapshot:
        if self._stored is not None and peer in self._stored:
            manifest = await self._stored.manifest(peer)
        else:
            async with open_channel(peer) as channel:
                stub = treenode_pb2_grpc.TreeNodeServiceStub(channel)
                manifest = await manifest_of(stub, treenode_pb2.DownloadSnapshotRequest())
        self._offered[peer] = manifest
        return PeerSnapshot(manifest.log_id, manifest.import_id, manifest.position, manifest.size_bytes)

    async def _fetch(self, search: int, peer: str) -> None:
        """Fetches what the peer offered, or what is stored under that name, and takes it if it still fits by then."""
        manifest = self._offered[peer]
        part = await asyncio.to_thread(self._store.incoming, manifest.import_id, manifest.position, manifest.sha256)
        wanted = Wanted(manifest.size_bytes, manifest.sha256)
        if self._stored is not None and peer in self._stored:
            stored, name = self._stored, state_name(self._name_of(manifest))
            await fetch(wanted, part, [peer], stored.chunks, stored.silence_s, lambda share: None, name)
        else:
            await self._fetch_of_peer(peer, manifest, wanted, part)
        try:
            await self._take(search, peer, part, self._name_of(manifest))
        finally:
            await asyncio.to_thread(self._store.discard, part)

    async def _fetch_of_peer(
        self, peer: str, manifest: treenode_pb2.SnapshotManifest, wanted: Wanted, part: Path
    ) -> None:
        async with open_channel(peer) as channel:
            stub = treenode_pb2_grpc.TreeNodeServiceStub(channel)

            async def chunks(source: str, offset: int) -> AsyncGenerator[types_pb2.Chunk, None]:
                request = treenode_pb2.DownloadSnapshotRequest(
                    import_id=manifest.import_id, position=manifest.position, offset=offset
                )
                async for response in stub.DownloadSnapshot(request):
                    if response.HasField("chunk"):
                        yield response.chunk

            silence_s, name = self._node.settings.download_silence_s, state_name(self._name_of(manifest))
            await fetch(wanted, part, [peer], chunks, silence_s, lambda share: None, name)

    def _name_of(self, manifest: treenode_pb2.SnapshotManifest) -> str:
        return self._store.path_of(manifest.import_id, manifest.position).name

    async def _take(self, search: int, peer: str, part: Path, name: str) -> None:
        node = self._node
        tree, label = await asyncio.to_thread(read_of_peer, part, node.cluster.name, name)
        snapshot = PeerSnapshot(label.log_id, tree.import_id, tree.position, bare=tree.is_bare)
        build = SnapshotBuild(node, self._pusher_address(), tree, label.last_record)
        outcome = await build.run(SnapshotRead(search, build.number, snapshot, label.carried_positions))
        if isinstance(outcome, Taken):
            await asyncio.to_thread(self._store.take, part, snapshot.import_id, snapshot.position)
            await asyncio.to_thread(self._store.set_others_aside, snapshot.log_id)
            self._writer.restored(snapshot.log_id, snapshot.import_id, snapshot.position)
            whose = "a stored snapshot" if self._is_stored(peer) else "a peer's snapshot"
            logger.info("starts from %s: import %d, position %d", whose, snapshot.import_id, snapshot.position)


def read_of_peer(part: Path, cluster: str, name: str = "") -> tuple[Tree, Label]:
    """What a peer sent. `name`: of the snapshot that it is to be. Blocks.

    Raises:
        PeerUnfitError, StateDamagedError, StateError: It is nothing to start from.
    """
    try:
        state = read_state(part, name)
        if (its := state.label.get("cluster")) != cluster:
            raise PeerUnfitError(f"its snapshot is of cluster {its}")
        return restore_tree(state)
    except (PeerUnfitError, StateDamagedError, StateError, OSError):
        raise
    except Exception as error:  # whatever a reader makes of a peer's bytes: another one is asked, and this node goes on
        logger.exception("a peer's snapshot can't be read")
        raise PeerUnfitError(f"its snapshot can't be read: {error!r}") from error


class SnapshotBuild(BuildRunner):
    """A peer's snapshot, which is a tree already."""

    def __init__(self, node: NodeRunner, pusher_address: str, tree: Tree, record: tuple[int, int]) -> None:
        super().__init__(node, pusher_address)
        self.take_in(tree, record)

    async def make(self) -> Tree:
        """It is never asked to."""
        return self.tree


async def manifest_of(
    stub: treenode_pb2_grpc.TreeNodeServiceAsyncStub, request: treenode_pb2.DownloadSnapshotRequest
) -> treenode_pb2.SnapshotManifest:
    """The manifest of what a peer would send, which it may have to write or to read first. Raises PeerUnfitError."""
    call = stub.DownloadSnapshot(request)
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
