"""How a simulated node gets whole trees: performs what the real core asks for, over this world's network and disks.

Nothing here decides. What was set off and not stopped in time is answered all the same, as by a real shell that was
about to: the core has to know what no longer counts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from services.shared.rules import meant_at, rules_from
from services.treenode.node import cutover_events as cut
from services.treenode.node.node import NodeEvent
from tests.simulator.checkers import Violation
from tests.simulator.messages import LoadRequest, LoadWord, Manifest, Record
from tests.simulator.network import End
from tests.simulator.toy_tree import EngineFailed, ImportFile, ToyTree, Update, resolved

if TYPE_CHECKING:
    from tests.simulator.node_process import NodeProcess
    from tests.simulator.node_state import Snapshot

#: A file travels in that many chunks.
CHUNKS = 3
#: A load that has nothing new to tell says so this often, in seconds.
LOAD_HEARTBEAT_S = 2.0
#: The first message of a stream's other side.
Hear = Callable[[Any], None]


class Build:
    """One new tree on its way: its shell."""

    def __init__(self, node: NodeProcess, number: int, asker: End | None, request: LoadRequest | None) -> None:
        self._node = node
        self.number = number
        self._asker = asker
        self._phase = "downloading"
        self.manifest: Manifest | None = request.manifest if request else None
        self._sources = [*request.sources, "pusher"] if request else []
        self._chunks = 0
        #: What is being read or fetched.
        self._reading: End | None = None
        self.tree = ToyTree()
        #: The newest record that was read into the tree.
        self.last_record: tuple[int, Update | None] = (0, None)
        #: Whether it is a peer's snapshot.
        self.is_snapshot = False
        #: Whether whoever asked went away, and whether the core has done with it.
        self.cancelled = self.stopped = False

    def answer(self, event: NodeEvent, within_s: float = 0.0) -> None:
        """Tells the core what came of its asking, a little later."""
        self._node.timer(within_s * self._node.world.random.random(), self._node.handle, event)

    def tell(self, phase: str, carried: tuple[int, ...] = (), reason: str = "") -> None:
        """A word to whoever asked; the last ones end the call."""
        self._phase = phase
        if self._asker is not None:
            self._asker.send(LoadWord(phase, carried, reason))
            if phase in ("done", "refused", "failed"):
                self._asker.close()

    def beat(self) -> None:
        """Says that the node lives, for as long as somebody asks."""
        if self._asker is not None and self._asker.open:
            self.tell(self._phase)
            self._node.timer(LOAD_HEARTBEAT_S, self.beat)

    def perform(self, action: cut.BuildAction) -> None:
        """Does what the core asks for."""
        match action:
            case cut.MakeTree():
                self._make()
            case cut.FindCarried(as_of_position=as_of):
                found = self._node.tree.carried_positions(as_of)
                self.answer(cut.CarriedFound(self.number, found))
            case cut.OfferCarried(positions=positions):
                self._offer(positions)
            case cut.ReadLog(first_position=first, last_position=last):
                self._read(first, last)
            case cut.Compare():
                self._compare()
            case cut.EnterGate():
                self.answer(cut.InGate(self.number), self._node.times.apply_s)
            case cut.Stop(reason=reason):
                self._node.tell(f"build {self.number} ends: {reason}")
                self.stopped = True
                if self._reading is not None and self._node.world.random.random() < 0.5:
                    self._reading.close()
            case cut.Taken(carried=carried):
                self.tell("done", carried)
            case cut.Had(same=same):
                self.tell("done", self._node.in_force.carried if same else ())
            case cut.Refused(reason=reason):
                self.tell("refused", (), reason)
            case cut.Failed(reason=reason):
                self.tell("failed", (), reason)
            case cut.TakeTree():
                self._node.take_tree(action, self)

    # ---- the tree

    def _make(self) -> None:
        node, times = self._node, self._node.times
        if self.manifest is None:
            self.tree, self.last_record = node.tree.copy(), node.in_force.last_record
            self.answer(cut.TreeBuilt(self.number, self.tree.position), times.build_s)
            return
        self.tell("downloading")
        file = node.disk.read(f"import-{self.manifest.import_id}")
        if file is not None and node.loader.is_wanted(self.manifest, file):
            self._check(file)
        else:
            self._fetch()

    def _fetch(self) -> None:
        assert self.manifest is not None
        if not self._sources:
            self.answer(cut.BuildFailed(self.number, "nobody has the file"))
            return
        source = self._node.cluster.process(self._sources[0])
        opening = (self.manifest.import_id, self._chunks)
        self._reading = end = self._node.network.connect(self._node, source, "download_import", opening)
        end.on_message = self._fetched
        end.on_end = self._fetch_ended

    def _fetched(self, chunk: ImportFile | None) -> None:
        assert self.manifest is not None
        self._chunks += 1
        self.tell("downloading")
        if chunk is not None and self._node.loader.is_wanted(self.manifest, chunk):
            if self._reading is not None:
                self._reading.close()
            name = f"import-{self.manifest.import_id}"
            self._node.disk.write(name, chunk, lambda ok: self._stored(chunk, ok))

    def _fetch_ended(self, _reason: str) -> None:
        if self._chunks >= CHUNKS:
            self._chunks = 0  # whole, and not what was announced
        self._sources.pop(0)
        self._node.timer(0.05, self._fetch)

    def _stored(self, file: ImportFile, ok: bool) -> None:
        if ok:
            self._check(file)
        else:
            self.answer(cut.BuildFailed(self.number, "the disk is full"))

    def _check(self, file: ImportFile) -> None:
        assert self.manifest is not None
        self.tell("building")
        manifest, rules = self.manifest, rules_from(self.manifest.meant.rules)
        self.tree = ToyTree(manifest.import_id, manifest.as_of_position, file.members, rules)
        self.tree.skips = self._node.skips
        if self._node.loader.is_sound(file):
            self.answer(cut.TreeBuilt(self.number, self.tree.position), self._node.times.build_s)
        else:
            self.answer(cut.BuildRefused(self.number, "a row is bad"), self._node.times.build_s)

    # ---- the log

    def _offer(self, positions: tuple[int, ...]) -> None:
        records: list[Record] = []

        def ended() -> None:
            wanted = set(positions)
            carried = self._node.loader.carried_records([each for each in records if each[0] in wanted])
            self.tree.offer_carried(self._node.loader.meant(self, carried))
            self._node.handle(cut.CarriedOffered(self.number))

        self._read_log(positions[0], positions[-1], records.extend, ended)

    def _read(self, first: int, last: int) -> None:
        def came(records: tuple[Record, ...]) -> None:
            self.tell("building")
            try:
                self._node.loader.replay(self, records)
            except EngineFailed as failed:
                end.close()
                self._node.handle(cut.LogReadFailed(self.number, f"the engine fails: {failed}", engine_failed=True))
                return
            if records:
                self.last_record = records[-1]

        end = self._read_log(first, last, came, lambda: self._node.handle(cut.LogRead(self.number, self.tree.position)))

    def _read_log(self, first: int, last: int, came: Hear, done: Callable[[], object]) -> End:
        node = self._node
        opening = (first, last, node.core.sequence.log_id)
        self._reading = end = node.network.connect(node, node.cluster.pusher, "read_log", opening)
        end.on_message = came

        def ended(reason: str) -> None:
            if reason == "done":
                done()
            else:
                why = f"the log could not be read: {reason}"
                node.handle(cut.LogReadFailed(self.number, why, damaged=reason == "DATA_LOSS"))

        end.on_end = ended
        return end

    def _compare(self) -> None:
        """Both trees stand at one position, from the first look to the last."""
        node, live, position = self._node, self._node.tree, self.tree.position
        if live.position != position:
            raise Violation(f"comparison: {node.name} compares a tree at {position} with one at {live.position}")

        def compared() -> None:
            if not self.stopped and node.tree is live and live.position != position:
                raise Violation(f"comparison: updates go on in {node.name} while it compares, from {position}")
            node.handle(cut.Compared(self.number))

        node.timer(node.times.compare_s * node.world.random.random(), compared)


class Loader:
    """The part of a node that gets whole trees."""

    def __init__(self, node: NodeProcess) -> None:
        self._node = node
        self._numbers = itertools.count(1)
        self.builds: dict[int, Build] = {}

    def start(self) -> None:
        """A new life of the node."""
        self._numbers = itertools.count(1)
        self.builds.clear()

    def accept(self, kind: str, end: End, opening: Any) -> None:
        """A load that the pusher asks for, or a peer that fetches a file or a snapshot."""
        node = self._node
        if kind == "load_import":
            self._load(end, opening)
        elif kind == "download_import":
            import_id, offset = opening
            send_file(end, node.disk.read(f"import-{import_id}"), offset)
        elif kind == "download_snapshot":
            self._send_snapshot(end)
        else:
            raise NotImplementedError(kind)

    def _begin(self, asker: End | None = None, request: LoadRequest | None = None) -> Build:
        number = next(self._numbers)
        build = self.builds[number] = Build(self._node, number, asker, request)
        return build

    def _load(self, end: End, request: LoadRequest) -> None:
        build, manifest = self._begin(end, request), request.manifest

        def cancel(_: str) -> None:
            build.cancelled = True
            self._node.handle(cut.Cancelled(build.number))

        end.on_end = cancel
        self._node.handle(
            cut.ImportAsked(
                build.number,
                manifest.import_id,
                manifest.as_of_position,
                manifest.carried,
                as_it_comes=request.as_it_comes,
                log_id=request.log_id,
                carried_of=request.carried_of,
            )
        )
        build.beat()

    def lay_out_anew(self) -> None:
        """A relayout is due."""
        self._node.handle(cut.RelayoutAsked(self._begin().number))

    # ---- what a planted bug breaks

    def is_wanted(self, manifest: Manifest, file: ImportFile) -> bool:
        """Whether a file is the manifest's own: another log's import may have the same number."""
        return file.checksum == manifest.checksum

    def is_sound(self, file: ImportFile) -> bool:
        """The check of every row."""
        return file.sound

    def carried_records(self, records: list[Record]) -> list[Record]:
        """The held updates that the new tree is offered first."""
        return records

    def meant(self, build: Build, carried: list[Record]) -> list[Record]:
        """What carried updates leave open meant what held at their own positions."""
        assert build.manifest is not None
        meant, rules = build.manifest.meant, build.tree.rules
        return [(position, resolved(update, meant_at(meant, rules, position))) for position, update in carried]

    def replay(self, build: Build, records: tuple[Record, ...]) -> None:
        """Updates after the new tree's position, into it."""
        for position, update in records:
            if position == build.tree.position + 1:
                self._node.periods.before(build.tree, position, update)
                build.tree.apply(position, update)

    # ---- snapshots of others

    def begin_snapshot(self, saved: Snapshot) -> int:
        """One that was fetched goes on as a build of that number."""
        build = self._begin()
        build.tree, build.last_record, build.is_snapshot = saved.tree.copy(), saved.last_record, True
        return build.number

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


def send_file(end: End, file: ImportFile | None, offset: int) -> None:
    """Sends an import file in chunks from an offset; the last one stands for the whole."""
    if file is not None:
        for chunk in range(offset, CHUNKS):
            end.send(file if chunk == CHUNKS - 1 else None)
    end.close("done" if file is not None else "NOT_FOUND")
