"""How a simulated node gets a tree: imports that the pusher asks it to take, and snapshots of peers.

As in `services/treenode/imports/loading.py`: one load at a time, the next ones wait for their turn. The live tree
serves and takes updates until the swap; for the last few updates of the replay it is held back, and the swap is
one step, once the new tree stands where the live one does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.treenode.node.node import LoadBegun
from services.treenode.node.sequence import LogUnreadable
from tests.simulator.messages import LoadRequest, LoadWord, Manifest, Record
from tests.simulator.network import End
from tests.simulator.toy_tree import ImportFile, ToyTree

if TYPE_CHECKING:
    from tests.simulator.node_process import NodeProcess, Snapshot

#: A file travels in that many chunks.
CHUNKS = 3
#: Updates are held back once the new tree lacks no more than so many.
HOLD_UPDATES_MAX = 4
#: A node that is behind the file's position waits this long to get there.
POSITION_WAIT_S = 10.0
BOOTSTRAP_BACKOFF_S = (0.2, 2.0)


class Load:
    """An import on its way into the node, or a peer's snapshot that has to follow the log first (nobody asked)."""

    def __init__(self, asker: End | None, request: LoadRequest) -> None:
        self._asker = asker
        self.manifest: Manifest = request.manifest
        self.sources = [*request.sources, "pusher"]
        self.chunks = 0
        self.fetching: End | None = None
        self.carried: tuple[int, ...] = ()
        #: The tree that is being built; None before the file was checked and what it carries is known.
        self.tree: ToyTree | None = None
        #: Whether records are being read from the pusher.
        self.reading = False

    def tell(self, phase: str, carried: tuple[int, ...] = (), reason: str = "") -> None:
        """A word to whoever asked; the last ones end the call."""
        if self._asker is not None:
            self._asker.send(LoadWord(phase, carried, reason))
            if phase in ("done", "refused", "failed"):
                self._asker.close()


class Loader:
    """The part of a node that builds whole trees."""

    def __init__(self, node: NodeProcess) -> None:
        self._node = node
        self._load: Load | None = None
        self._turns: list[tuple[End, LoadRequest]] = []
        self._finding = False
        #: Whether updates wait for a swap.
        self.holds_back = False
        #: What the import under the live tree carried, for a pusher that asks again.
        self.carried: tuple[int, ...] = ()

    def start(self) -> None:
        """A new life of the node."""
        self._load = None
        self._turns.clear()
        self._finding = self.holds_back = False
        self.carried = ()

    def accept(self, kind: str, end: End, opening: Any) -> None:
        """A load that the pusher asks for, or a peer that fetches a file or a snapshot."""
        node = self._node
        if kind == "load_import":
            self._turns.append((end, opening))
            self._next_turn()
        elif kind == "download_import":
            import_id, offset = opening
            send_file(end, node.disk.read(f"import-{import_id}"), offset)
        elif kind == "download_snapshot":
            self._send_snapshot(end)
        else:
            raise NotImplementedError(kind)

    # ---- an import

    def _next_turn(self) -> None:
        while self._load is None and self._turns:
            end, request = self._turns.pop(0)
            if end.open:
                self._begin(end, request)

    def _begin(self, end: End, request: LoadRequest) -> None:
        node = self._node
        import_id, serves = request.manifest.import_id, node.core.sequence.import_id
        if serves >= import_id:
            end.send(LoadWord("done", self.carried if serves == import_id else ()))
            end.close()
            return
        load = Load(end, request)
        if unbuildable := node.core.sequence.why_unbuildable(import_id):
            load.tell("failed", (), unbuildable)
            return
        self._load = load
        end.on_end = lambda _: self._fail(load, "the pusher's call ended")
        node.handle(LoadBegun(f"import {import_id}"))
        load.tell("downloading")
        file = node.disk.read(f"import-{import_id}")
        if file is not None and self.is_wanted(load.manifest, file):
            self._check(load, file)
        else:
            self._fetch(load)

    def is_wanted(self, manifest: Manifest, file: ImportFile) -> bool:
        """Whether a file is the manifest's own: another log's import may have the same number."""
        return file.checksum == manifest.checksum

    def _fail(self, load: Load, reason: str, phase: str = "failed") -> None:
        if self._load is not load:
            return
        self._load = None
        self.holds_back = False
        self._node.tell(f"import {load.manifest.import_id}: {phase}: {reason}")
        self._node.fail_load(reason)
        load.tell(phase, (), reason)
        self._next_turn()

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
        load.tell("downloading")
        if chunk is not None and self.is_wanted(load.manifest, chunk):
            if load.fetching is not None:
                load.fetching.close()
            name = f"import-{load.manifest.import_id}"
            self._node.disk.write(name, chunk, lambda ok: self._stored(load, chunk, ok))

    def _fetch_ended(self, load: Load) -> None:
        if load.chunks >= CHUNKS:
            load.chunks = 0  # whole, and not what was announced
        load.sources.pop(0)
        self._node.timer(0.05, self._fetch, load)

    def _stored(self, load: Load, file: ImportFile, ok: bool) -> None:
        if ok:
            self._check(load, file)
        else:
            self._fail(load, "the disk is full")

    def _check(self, load: Load, file: ImportFile) -> None:
        load.tell("building")
        times = self._node.times
        self._node.timer(times.load_s * self._node.world.random.random(), self._checked, load, file)

    def _checked(self, load: Load, file: ImportFile) -> None:
        if self._load is not load:
            return
        if not self.is_sound(file):
            self._fail(load, "a row is bad", "refused")
            return
        load.tell("building")
        manifest = load.manifest
        if manifest.carried or self._in_force(load):
            self._build(load, file, manifest.carried)
        else:
            self._wait_for_position(load, file, self._node.clock.now() + POSITION_WAIT_S)

    def is_sound(self, file: ImportFile) -> bool:
        """The check of every row."""
        return file.sound

    def _in_force(self, load: Load) -> bool:
        """Whether another node took the import before."""
        log_end = self._node.core.sequence.log_end
        return log_end is not None and log_end.import_id >= load.manifest.import_id

    def _wait_for_position(self, load: Load, file: ImportFile, until: float) -> None:
        node, as_of = self._node, load.manifest.as_of_position
        if self._load is not load:
            return
        if node.tree.position >= as_of:
            self._build(load, file, node.tree.carried_positions(as_of))
        elif node.clock.now() < until:
            load.tell("building")
            node.timer(0.2, self._wait_for_position, load, file, until)
        else:
            self._fail(load, f"stands at {node.tree.position}, before the file's position {as_of}")

    def _build(self, load: Load, file: ImportFile, carried: tuple[int, ...]) -> None:
        load.carried = carried
        load.tree = ToyTree(load.manifest.import_id, load.manifest.as_of_position, file.members)
        if carried:
            self._read(load, carried[0], carried[-1])
        else:
            self.live_moved()

    # ---- replay

    def _read(self, load: Load, first: int, last: int) -> None:
        load.reading = True
        end = self._node.network.connect(self._node, self._node.cluster.pusher, "read_log", (first, last))
        offered = first <= load.manifest.as_of_position
        end.on_message = lambda records: self._records(load, records, offered)
        end.on_end = lambda reason: self._read_ended(load, reason)

    def _records(self, load: Load, records: tuple[Record, ...], offered: bool) -> None:
        tree = load.tree
        if self._load is not load or tree is None:
            return
        if offered:
            wanted = set(load.carried)
            tree.offer_carried(self.carried_records([record for record in records if record[0] in wanted]))
        else:
            self.replay(tree, records)
        load.tell("building")

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
        if self._load is not load:
            return
        if reason == "done":
            self.live_moved()
        else:
            if reason == "DATA_LOSS":
                self._node.handle(LogUnreadable(load.manifest.import_id, "a record is damaged"))
            self._fail(load, f"the log could not be read: {reason}")

    def live_moved(self) -> None:
        """The live tree has taken updates, or the new one has: swaps when both stand at one position."""
        load, live = self._load, self._node.tree
        if load is None or load.tree is None or load.reading:
            return
        self.holds_back = live.position - load.tree.position <= HOLD_UPDATES_MAX
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
        self.holds_back = False
        self.carried = load.carried
        node.take_tree(tree, "")
        node.tell(f"serves from import {tree.import_id} at {tree.position}")
        node.timer(0.01, node.save)
        load.tell("done", load.carried)
        self._next_turn()

    # ---- a snapshot of a peer

    def _send_snapshot(self, end: End) -> None:
        """The newest one on disk; where that is of an older import, a new one is written first."""
        node = self._node
        saved: Snapshot | None = node.disk.read("snapshot")
        if saved is None or saved.tree.import_id != node.tree.import_id:
            node.save()
            node.timer(0.5, self._send_written, end)
        else:
            self._send_written(end)

    def _send_written(self, end: End) -> None:
        saved: Snapshot | None = self._node.disk.read("snapshot")
        end.send(saved if saved is not None and saved.sound else None)
        end.close()

    def find_base(self, reason: str) -> None:
        """Records can't bring the node on: asks its peers for a snapshot, until something came."""
        if not self._finding:
            self._node.tell(f"looks for a base: {reason}")
            self._finding = True
            self._ask_peers(BOOTSTRAP_BACKOFF_S[0])

    def _ask_peers(self, backoff_s: float) -> None:
        node = self._node
        if node.core.sequence.base_wanted is None:
            self._finding = False
            return
        node.timer(backoff_s, self._ask_peers, min(2 * backoff_s, BOOTSTRAP_BACKOFF_S[1]))
        peers = [peer for peer in node.cluster.nodes if peer is not node]
        if self._load is None and peers:
            node.handle(LoadBegun("a peer's snapshot"))
            end = node.network.connect(node, node.world.random.choice(peers), "download_snapshot")
            taken: list[bool] = []
            end.on_message = lambda saved: taken.append(self._take_snapshot(saved))
            end.on_end = lambda _: None if any(taken) or self._load is not None else node.fail_load("no snapshot")

    def _take_snapshot(self, saved: Snapshot | None) -> bool:
        node = self._node
        sequence = node.core.sequence
        if saved is None or sequence.base_wanted is None:
            return False
        tree, log_end = saved.tree, sequence.log_end
        fits = not sequence.log_id or saved.log_id == sequence.log_id
        fits = fits and (log_end is None or tree.position + 1 >= log_end.first_position)
        if not fits or tree.import_id < sequence.base_import_id:
            return False
        if not sequence.records_wait:
            self._follow(saved)
            return True
        if tree.position < sequence.position:
            return False
        self.carried = saved.carried
        node.take_tree(tree.copy(), saved.log_id)
        node.tell(f"starts from a peer's snapshot: import {tree.import_id}, position {tree.position}")
        return True

    def _follow(self, saved: Snapshot) -> None:
        """The node goes on meanwhile: the snapshot follows the log to where the node is."""
        tree = saved.tree.copy()
        manifest = Manifest(tree.import_id, tree.position, 0, saved.carried)
        self._load = load = Load(None, LoadRequest(manifest, ()))
        load.tree, load.carried = tree, saved.carried
        self._node.tell(f"follows the log with a peer's snapshot: import {tree.import_id}, position {tree.position}")
        self.live_moved()


def send_file(end: End, file: ImportFile | None, offset: int) -> None:
    """Sends an import file in chunks from an offset; the last one stands for the whole."""
    if file is not None:
        for chunk in range(offset, CHUNKS):
            end.send(file if chunk == CHUNKS - 1 else None)
    end.close("done" if file is not None else "NOT_FOUND")
