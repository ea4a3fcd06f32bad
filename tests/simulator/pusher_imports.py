"""The pusher's imports in the simulator: the real rollout core, uploads, loads, and what is recorded of them.

States are recorded in order, each until there is room for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fasttree.v1 import treenode_pb2, types_pb2
from services.pusher.fanout.events import NodeStands
from services.pusher.fanout.members import MembersChanged
from services.pusher.fanout.progress import NodeStream
from services.pusher.imports import events as roll
from services.pusher.imports.history import ImportHistory, ImportRefused, PastImport
from services.pusher.imports.load_words import LoadWords
from services.pusher.imports.node_news import for_rollout
from services.pusher.imports.places import KnownImport
from services.pusher.imports.rollout import Rollout
from services.pusher.imports.settings import RolloutSettings
from services.shared.cores import Tick
from tests.simulator.checkers import Violation
from tests.simulator.messages import LoadRequest, LoadWord, Manifest, UploadRequest
from tests.simulator.network import End
from tests.simulator.node_loading import send_file
from tests.simulator.toy_tree import ImportFile

if TYPE_CHECKING:
    from tests.simulator.pusher_process import PusherProcess

_PHASES = {
    "downloading": treenode_pb2.IMPORT_PHASE_DOWNLOADING,
    "building": treenode_pb2.IMPORT_PHASE_BUILDING,
    "done": treenode_pb2.IMPORT_PHASE_DONE,
    "refused": treenode_pb2.IMPORT_PHASE_REFUSED,
}


@dataclass
class StoredImport:
    """An import on the pusher's disk."""

    file: ImportFile
    as_of_position: int
    #: What the rules were at that position, and before it.
    meant: types_pb2.ImportManifest
    carried: tuple[int, ...] = ()
    place: roll.ImportPlace = roll.ImportPlace.WAITING
    taken: bool = False
    #: A rollback: what it carries was known before.
    again: bool = False
    #: Taken as it came, when a record was damaged and no node of the import in force went on: nobody can say what was
    #: held.
    nobody_knows: bool = False


class ImportDesk:
    """Imports, and the rollout of them. What stands under `durable` survives a crash."""

    rollout: Rollout

    def __init__(self, pusher: PusherProcess, settings: RolloutSettings) -> None:
        self._pusher = pusher
        self._settings = settings
        #: Durable: imports by id.
        self.imports: dict[int, StoredImport] = {}
        self._loads: dict[int, End] = {}
        #: States of imports to be recorded, in order; the first is being written.
        self._records: deque[roll.RecordTaken | roll.RecordPlace] = deque()
        #: Carried positions that are known, and maybe not on disk yet.
        self._carried: dict[int, tuple[int, ...]] = {}
        #: For the checker: since when each node has been connected, and who was primary as was said last.
        self._connected_since: dict[str, float] = {}
        self._primary: str | None = None

    def start(self) -> None:
        """A new life of the pusher."""
        known = tuple(KnownImport(key, each.place, each.taken) for key, each in self.imports.items())
        self.rollout = Rollout(self._settings, known)
        self._loads.clear()
        self._records.clear()
        self._connected_since.clear()
        self._primary = None

    def tick(self) -> None:
        """Lets the core do what is due."""
        self._perform(self.rollout.handle(Tick(), self._pusher.clock.now()))
        self.rollout.validate()

    def crash(self) -> None:
        """What is only in memory is gone."""
        self._carried.clear()

    @property
    def history(self) -> ImportHistory:
        """The imports as the process knows them."""
        return ImportHistory(
            PastImport(key, each.as_of_position, each.place, each.taken or key in self._carried, self._carried_by(key))
            for key, each in self.imports.items()
        )

    def _carried_by(self, import_id: int) -> tuple[int, ...]:
        return self._carried.get(import_id, self.imports[import_id].carried)

    def heard(self, news: NodeStands | MembersChanged) -> None:
        """A node stands otherwise, or there is another primary."""
        for event in for_rollout(news):
            match event:
                case roll.NodeUp(node=name):
                    self._connected_since.setdefault(name, self._pusher.clock.now())
                case roll.NodeDown(name):
                    self._connected_since.pop(name, None)
                case roll.PrimarySeen(name):
                    self._primary = name
            self.handle(event)

    def send_file(self, end: End, import_id: int, offset: int) -> None:
        """Serves a file to a node."""
        stored = self.imports.get(import_id)
        send_file(end, stored.file if stored else None, offset)

    def upload(self, end: End, request: UploadRequest) -> None:
        """Takes a file in, under the next id."""

        def decide() -> StoredImport | ImportRefused:
            refused = self.history.why_refused(request.as_of_position, self._pusher.store.ends)
            return refused or StoredImport(request.file, request.as_of_position, self.stamped(request.as_of_position))

        self._keep(end, decide)

    def roll_back(self, end: End) -> None:
        """Takes the import before the one in force again, with what it carried."""

        def decide() -> StoredImport | ImportRefused:
            before = self.history.to_go_back_to(self._pusher.store.ends)
            if isinstance(before, ImportRefused):
                return before
            self._pusher.tell(f"rolls back to import {before.import_id}")
            old = self.imports[before.import_id]
            meant = self.meant_again(old)
            return StoredImport(old.file, before.as_of_position, meant, before.carried_positions, again=True)

        self._keep(end, decide)

    def stamped(self, as_of_position: int) -> types_pb2.ImportManifest:
        """What a new file means that leaves something open."""
        manifest = types_pb2.ImportManifest(as_of_position=as_of_position)
        self._pusher.desk.door.history.stamp(manifest)
        return manifest

    def meant_again(self, old: StoredImport) -> types_pb2.ImportManifest:
        """A file that comes back means what it meant."""
        return old.meant

    def _keep(self, end: End, decide: Callable[[], StoredImport | ImportRefused]) -> None:
        """Decides when its turn has come, as the real catalog does under its lock."""
        decided: list[int | ImportRefused] = []

        def change() -> None:
            stored = decide()
            if isinstance(stored, StoredImport):
                import_id = self.history.next_id
                self.imports[import_id] = stored
                decided.append(import_id)
            else:
                decided.append(stored)

        self._pusher.disk.commit(change, lambda ok: self._kept(end, decided[0] if ok else None))

    def _kept(self, end: End, decided: int | ImportRefused | None) -> None:
        match decided:
            case int():
                end.send(decided)
                self.handle(roll.ImportAdded(decided))
                end.close("done")
            case ImportRefused(problem):
                end.close(problem.name)
            case None:
                end.close("RESOURCE_EXHAUSTED")

    def handle(self, event: roll.RolloutEvent) -> None:
        """Tells the core, and does what it asks for."""
        self._perform(self.rollout.handle(event, self._pusher.clock.now()))
        self.rollout.validate()

    def _perform(self, actions: list[roll.RolloutAction]) -> None:
        for action in actions:
            match action:
                case roll.Load():
                    self._load(action)
                case roll.CancelLoad(attempt=attempt):
                    end = self._loads.pop(attempt, None)
                    if end is not None:
                        end.close()
                case roll.RecordTaken() | roll.RecordPlace():
                    self._records.append(action)
                    if len(self._records) == 1:
                        self._record()
                case roll.Announce(import_id):
                    self._pusher.announce(import_id)

    def _record(self) -> None:
        """Records states in order; tries each until there is room for it."""
        action = self._records[0]
        stored = self.imports[action.import_id]
        if isinstance(action, roll.RecordPlace):
            self._pusher.tell(f"import {action.import_id} is {action.place}: {action.reason}")
            self._pusher.disk.commit(partial(setattr, stored, "place", action.place), self._recorded)
        else:
            # In memory at once, as in the real catalog; the disk follows.
            self._carried[action.import_id] = action.carried_positions

            def change() -> None:
                stored.taken, stored.carried = True, action.carried_positions

            self._pusher.disk.commit(change, self._recorded)

    def _recorded(self, ok: bool) -> None:
        if not ok:
            self._pusher.timer(1.0, self._record)
            return
        action = self._records.popleft()
        if self._records:
            self._record()
        if isinstance(action, roll.RecordTaken):
            self.handle(roll.Recorded(action.import_id))

    def _load(self, action: roll.Load) -> None:
        stored = self.imports[action.import_id]
        self._check_passive_first(action, stored)
        if action.as_it_comes and not stored.taken:
            stored.nobody_knows = bool(self._pusher.store.damaged) and not self._follower_of(self.rollout.in_force)
        known = stored.taken or stored.again or action.import_id in self._carried
        carried = self._carried_by(action.import_id) if known else None
        manifest = Manifest(action.import_id, stored.as_of_position, stored.file.checksum, carried, stored.meant)
        self._pusher.tell(f"asks {action.node} to take import {action.import_id}")
        node = self._pusher.cluster.process(action.node)
        end = self._pusher.network.connect(
            self._pusher,
            node,
            "load_import",
            LoadRequest(manifest, action.sources, action.as_it_comes, self._pusher.log_id, action.carried_of),
        )
        self._loads[action.attempt] = end
        words = LoadWords(action)
        end.on_message = lambda word: self._load_word(words, word)
        end.on_end = lambda reason: self._load_ended(action, words, reason)

    def _follower_of(self, import_id: int) -> bool:
        nodes = self._pusher.replication.nodes.values()
        return any(node.import_id == import_id and node.state is NodeStream.STREAMING for node in nodes)

    def _check_passive_first(self, action: roll.Load, stored: StoredImport) -> None:
        """No untried import goes to the primary while another node that serves the one in force has long been there."""
        if stored.taken or action.node != self._primary:
            return
        if self._pusher.replication.nodes[action.node].import_id == action.import_id:
            return  # it has taken it already, and is only asked again
        # One whose loads fail is excused: a full disk on one node must not hold up an import for good.
        long_ago = self._pusher.clock.now() - 2.0 * self._settings.load_backoff_max_s - 1.0
        nodes, in_force = self._pusher.replication.nodes, self.history.in_force
        steady = [
            name
            for name, since in self._connected_since.items()
            if name != action.node
            and since < long_ago
            and nodes[name].import_id == in_force
            and not self.rollout.nodes[name].failures
        ]
        if steady:
            raise Violation(f"passive first: import {action.import_id} goes to the primary before {steady}")

    def _load_word(self, words: LoadWords, word: LoadWord) -> None:
        if word.phase in _PHASES:
            self.handle(words.said(_PHASES[word.phase], word.carried, word.reason))
        elif failed := words.ended(word.reason):  # a status that ends the call
            self.handle(failed)

    def _load_ended(self, action: roll.Load, words: LoadWords, reason: str) -> None:
        self._loads.pop(action.attempt, None)
        if failed := words.ended(reason):
            self.handle(failed)
