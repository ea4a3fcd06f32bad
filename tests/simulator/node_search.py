"""How a simulated node looks for a base: performs what the real search asks for (`services/treenode/node/search.py`).

Peers are asked over this world's network; what is stored is asked for by the product's own code (`stored/node.py`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from services.treenode.node.search import (
    AskPeer,
    FetchSnapshot,
    FindPeers,
    FindStored,
    PassOver,
    PeerFailed,
    PeersFound,
    PeerSnapshot,
    SearchAction,
    SnapshotOffered,
    SnapshotRead,
    StopSearch,
)

if TYPE_CHECKING:
    from tests.simulator.node_process import NodeProcess
    from tests.simulator.node_state import Snapshot


class Searching:
    """One node's search."""

    def __init__(self, node: NodeProcess) -> None:
        self._node = node
        #: What each peer offered in the search under way.
        self._offered: dict[str, Snapshot] = {}

    def start(self) -> None:
        """A new life of the node."""
        self._offered.clear()
        if self._node.stored is not None:
            self._node.stored.start()

    def end(self) -> None:
        """The node has died."""
        if self._node.stored is not None:
            self._node.stored.end()

    def perform(self, action: SearchAction) -> None:
        """Does what the core asks for."""
        node, stored = self._node, self._node.stored
        match action:
            case FindPeers(search):
                peers = [peer.name for peer in node.cluster.nodes if peer is not node]
                node.world.random.shuffle(peers)
                found = PeersFound(search, tuple(peers), has_store=stored is not None)
                node.timer(0.01, node.handle, found)
            case FindStored():
                assert stored is not None
                stored.perform(action)
            case AskPeer(_, peer) | FetchSnapshot(_, peer) if stored is not None and peer in stored:
                stored.perform(action)
            case AskPeer(search, peer):
                self._ask(search, peer)
            case FetchSnapshot(search, peer):
                node.timer(node.times.load_s * node.world.random.random(), self._fetched, search, peer)
            case PassOver(_, peer, reason):
                node.tell(f"takes nothing from {peer}: {reason}")
            case StopSearch():
                # What it set off with peers is answered, and ignored.
                if stored is not None:
                    stored.stop()

    def _ask(self, search: int, peer: str) -> None:
        node = self._node
        end = node.network.connect(node, node.cluster.process(peer), "download_snapshot")

        def heard(saved: Snapshot | None) -> None:
            end.on_end = lambda _: None
            if saved is None:
                node.handle(PeerFailed(search, "it has none"))
            else:
                self._offered[peer] = saved
                node.handle(SnapshotOffered(search, _described(saved)))

        def ended(reason: str) -> None:
            node.handle(PeerFailed(search, reason))

        end.on_message = heard
        end.on_end = ended

    def _fetched(self, search: int, peer: str) -> None:
        saved = self._offered[peer]
        number = self._node.loader.begin_snapshot(saved)
        found = replace(_described(saved), bare=saved.tree.is_bare)
        self._node.handle(SnapshotRead(search, number, found, saved.carried))


def _described(saved: Snapshot) -> PeerSnapshot:
    return PeerSnapshot(saved.log_id, saved.tree.import_id, saved.tree.position, 1)
