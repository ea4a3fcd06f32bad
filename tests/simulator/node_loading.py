"""How a simulated node gets a tree: imports that the pusher asks it to take, and snapshots of peers.

One load at a time; a newer one ends an older one. The live tree serves and takes updates until the swap, which is one
step once the new tree stands where the live one does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.treenode.node import LoadBegun
from tests.simulator.messages import LoadRequest, LoadWord, Manifest, Record
from tests.simulator.network import End
from tests.simulator.toy_tree import ImportFile, ToyTree

if TYPE_CHECKING:
    from tests.simulator.node_process import NodeProcess, Snapshot

#: A file travels in that many chunks.
CHUNKS = 3
FIND_AGAIN_S = 1.0


class Load:
    """An import on its way into the node."""

    def __init__(self, asker: End, request: LoadRequest, sources: list[str]) -> None:
        self.asker = asker
        self.manifest: Manifest = request.manifest
        self.sources = sources
        self.chunks = 0
        self.fetching: End | None = None
        self.carried: tuple[int, ...] = ()
        #: The tree that is being built; None before the file was checked.
        self.tree: ToyTree | None = None
        #: Whether records are being read from the pusher.
        self.reading = False


class Loader:
    """The part of a node that builds whole trees."""

    def __init__(self, node: NodeProcess) -> None:
        self._node = node
        self._load: Load | None = None
        self._finding = False
        #: The carried positions of the import under the live tree, for a pusher that asks again.
        self.carried: dict[int, tuple[int, ...]] = {}

    def start(self) -> None:
        """A new life of the node."""
        self._load = None
        self._finding = False
        self.carried = self._node.disk.read("carried", {})

    def accept(self, kind: str, end: End, opening: Any) -> None:
        """A load that the pusher asks for, or a peer that fetches a file or a snapshot."""
        node = self._node
        if kind == "load_import":
            self._begin(end, opening)
        elif kind == "download_import":
            import_id, offset = opening
            send_file(end, node.disk.read(f"import-{import_id}"), offset)
        elif kind == "download_snapshot":
            saved = node.disk.read("snapshot")
            end.send(saved if saved is not None and saved.sound else None)
            end.close()
        else:
            raise NotImplementedError(kind)

    # ---- an import

    def _begin(self, end: End, request: LoadRequest) -> None:
        node = self._node
        import_id = request.manifest.import_id
        if node.tree.import_id == import_id:
            end.send(LoadWord("done", self.carried.get(import_id, ())))
            end.close()
            return
        load = Load(end, request, [*request.sources, "pusher"])
        self._load = load
        end.on_end = lambda _: self._asker_gone(load)
        node.handle(LoadBegun(f"import {import_id}"))
        end.send(LoadWord("progress"))
        file = node.disk.read(f"import-{import_id}")
        if file is not None:
            self._check(load, file)
        else:
            self._fetch(load)

    def _asker_gone(self, load: Load) -> None:
        if self._load is load:
            self._fail(load, "the pusher's call ended")

    def _fail(self, load: Load, reason: str, phase: str = "failed") -> None:
        if self._load is not load:
            return
        self._load = None
        self._node.tell(f"import {load.manifest.import_id}: {phase}: {reason}")
        load.asker.send(LoadWord(phase, (), reason))
        load.asker.close()
        self._node.fail_load(reason)

    def _fetch(self, load: Load) -> None:
        if self._load is not load:
            return
        if not load.sources:
            self._fail(load, "nobody has the file")
            return
        source = self._node.cluster.process(load.sources[0])
        end = self._node.network.connect(self._node, source, "download_import", (load.manifest.import_id, load.chunks))
        load.fetching = end
        end.on_message = lambda message: self._fetched(load, message)
        end.on_end = lambda _: self._fetch_ended(load)

    def _fetched(self, load: Load, chunk: ImportFile | None) -> None:
        if self._load is not load:
            return
        load.chunks += 1
        load.asker.send(LoadWord("progress"))
        if chunk is not None:
            if load.fetching is not None:
                load.fetching.close()
            name = f"import-{load.manifest.import_id}"
            self._node.disk.write(name, chunk, lambda ok: self._stored(load, chunk, ok))

    def _fetch_ended(self, load: Load) -> None:
        load.sources.pop(0)
        self._node.timer(0.05, self._fetch, load)

    def _stored(self, load: Load, file: ImportFile, ok: bool) -> None:
        if ok:
            self._check(load, file)
        else:
            self._fail(load, "the disk is full")

    def _check(self, load: Load, file: ImportFile) -> None:
        times = self._node.times
        self._node.timer(times.load_s * self._node.world.random.random(), self._checked, load, file)

    def _checked(self, load: Load, file: ImportFile) -> None:
        if self._load is not load:
            return
        if not self.is_sound(file):
            self._fail(load, "a row is bad", "refused")
            return
        load.asker.send(LoadWord("progress"))
        manifest, live = load.manifest, self._node.tree
        if manifest.carried is None:
            if live.position < manifest.as_of_position:
                self._fail(load, f"stands at {live.position}, before the file's position {manifest.as_of_position}")
                return
            load.carried = live.carried_positions(manifest.as_of_position)
        else:
            load.carried = manifest.carried
        load.tree = ToyTree(manifest.import_id, manifest.as_of_position, file.members)
        if load.carried:
            self._read(load, load.carried[0], load.carried[-1])
        else:
            self.live_moved()

    def is_sound(self, file: ImportFile) -> bool:
        """The check of every row."""
        return file.sound

    # ---- replay

    def _read(self, load: Load, first: int, last: int) -> None:
        load.reading = True
        end = self._node.network.connect(self._node, self._node.cluster.pusher, "read_log", (first, last))
        end.on_message = lambda records: self._records(load, records, first)
        end.on_end = lambda reason: self._read_ended(load, reason)

    def _records(self, load: Load, records: tuple[Record, ...], _first: int) -> None:
        tree = load.tree
        if self._load is not load or tree is None:
            return
        if records and records[0][0] <= load.manifest.as_of_position:
            wanted = set(load.carried)
            tree.offer_carried(self.carried_records([record for record in records if record[0] in wanted]))
        else:
            self.replay(tree, records)
        load.asker.send(LoadWord("progress"))

    def carried_records(self, records: list[Record]) -> list[Record]:
        """The held updates that the new tree is offered first."""
        return records

    def replay(self, tree: ToyTree, records: tuple[Record, ...]) -> None:
        """Updates after the file's position, into the new tree."""
        for position, update in records:
            if position == tree.position + 1:
                tree.apply(position, update)

    def first_replayed(self, tree: ToyTree) -> bool:
        """Whether the tree stands where its file was taken."""
        return self._load is not None and tree.position == self._load.manifest.as_of_position

    def _read_ended(self, load: Load, reason: str) -> None:
        load.reading = False
        if reason == "done":
            self.live_moved()
        else:
            self._fail(load, f"the log could not be read: {reason}")

    def live_moved(self) -> None:
        """The live tree has taken updates, or the new one has: swaps when both stand at one position."""
        load, live = self._load, self._node.tree
        if load is None or load.tree is None or load.reading or self._node.applying:
            return
        if self.may_swap(load.tree, live):
            self._swap(load, load.tree)
        else:
            self._read(load, load.tree.position + 1, live.position)

    def may_swap(self, tree: ToyTree, live: ToyTree) -> bool:
        """Whether the new tree is where the live one is; a node that was empty or behind may jump ahead."""
        return tree.position >= live.position

    def _swap(self, load: Load, tree: ToyTree) -> None:
        node = self._node
        self._load = None
        self.carried = {load.manifest.import_id: load.carried}
        node.disk.write("carried", self.carried, lambda _: None)
        node.take_tree(tree, node.core.sequence.log_id or node.cluster.pusher.log_id)
        node.tell(f"serves from import {tree.import_id} at {tree.position}")
        load.asker.send(LoadWord("done", load.carried))
        load.asker.close()

    # ---- a snapshot of a peer

    def find_base(self, reason: str) -> None:
        """Records can't bring the node on: asks its peers for a snapshot, until something came."""
        if not self._finding:
            self._node.tell(f"looks for a base: {reason}")
            self._finding = True
            self._ask_peers()

    def _ask_peers(self) -> None:
        node = self._node
        if node.core.sequence.base_wanted is None:
            self._finding = False
            return
        node.timer(FIND_AGAIN_S, self._ask_peers)
        peers = [peer for peer in node.cluster.nodes if peer is not node]
        if self._load is None and peers:
            peer = node.world.random.choice(peers)
            end = node.network.connect(node, peer, "download_snapshot")
            end.on_message = lambda saved: self._take_snapshot(end, saved)

    def _take_snapshot(self, end: End, saved: Snapshot | None) -> None:
        end.close()
        node = self._node
        sequence = node.core.sequence
        if saved is None or self._load is not None or sequence.base_wanted is None or node.applying:
            return
        tree, log_end = saved.tree, sequence.log_end
        usable = saved.log_id == sequence.log_id and tree.position > sequence.position
        usable = usable and log_end is not None and tree.position + 1 >= log_end.first_position
        if not usable or tree.import_id < sequence.import_id:
            return
        node.handle(LoadBegun("a peer's snapshot"))
        node.take_tree(tree.copy(), saved.log_id)


def send_file(end: End, file: ImportFile | None, offset: int) -> None:
    """Sends an import file in chunks from an offset; the last one stands for the whole."""
    if file is not None:
        for chunk in range(offset, CHUNKS):
            end.send(file if chunk == CHUNKS - 1 else None)
    end.close("done" if file is not None else "NOT_FOUND")
