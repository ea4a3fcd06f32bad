"""The pusher's imports in the simulator: the real rollout core, uploads, loads, and what is recorded of them.

As in `catalog.py` and `runner.py` of `services/pusher/imports`: states are recorded in order, each until there is room
for it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fasttree.v1.types_pb2 import ImportManifest
from services.pusher.imports import events as roll
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

OPEN_PLACES = (roll.ImportPlace.WAITING, roll.ImportPlace.ROLLING_OUT)


@dataclass
class StoredImport:
    """An import on the pusher's disk."""

    file: ImportFile
    as_of_position: int
    carried: tuple[int, ...] = ()
    place: roll.ImportPlace = roll.ImportPlace.WAITING
    taken: bool = False
    #: A rollback: what it carries was known before.
    again: bool = False


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
        self._primary = ""

    def start(self, names: tuple[str, ...]) -> None:
        """A new life of the pusher."""
        known = tuple(KnownImport(key, each.place, each.taken) for key, each in self.imports.items())
        self.rollout = Rollout(self._settings, known)
        self._loads.clear()
        self._records.clear()
        self._carried.clear()
        self._connected_since.clear()
        self._primary = ""
        self.handle(roll.HostsKnown(names))

    def tick(self) -> None:
        """Lets the core do what is due."""
        self._perform(self.rollout.handle(Tick(), self._pusher.clock.now()))
        self.rollout.validate()

    @property
    def taken(self) -> int:
        """The newest import that is recorded as taken."""
        return max((key for key, each in self.imports.items() if each.taken), default=0)

    def primary_seen(self, name: str) -> None:
        """The coordinator names the primary."""
        self._primary = name
        self.handle(roll.PrimarySeen(name or None))

    def node_up(self, name: str, import_id: int) -> None:
        """A node is connected, and serves that import."""
        self._connected_since.setdefault(name, self._pusher.clock.now())
        self.handle(roll.NodeUp(name, import_id))

    def node_down(self, name: str) -> None:
        """A node is not connected any more."""
        self._connected_since.pop(name, None)
        self.handle(roll.NodeDown(name))

    def send_file(self, end: End, import_id: int, offset: int) -> None:
        """Serves a file to a node."""
        stored = self.imports.get(import_id)
        send_file(end, stored.file if stored else None, offset)

    def bases(self) -> list[ImportManifest]:
        """The imports that a node may have to be built from: `ImportCatalog.needed`; none while none was taken."""
        taken = sorted((key for key, each in self.imports.items() if each.taken), reverse=True)
        if not taken:
            return []
        wanted = {*taken[:2], *(key for key, each in self.imports.items() if each.place in OPEN_PLACES)}
        wanted |= {key for key in self.imports if key > taken[0]}
        chosen = [self.imports[key] for key in sorted(wanted)]
        return [ImportManifest(as_of_position=each.as_of_position, carried_positions=each.carried) for each in chosen]

    def upload(self, end: End, request: UploadRequest) -> None:
        """Takes a file in, under the next id."""
        self._keep(end, StoredImport(request.file, min(request.as_of_position, len(self._pusher.log))))

    def _may_keep(self, stored: StoredImport) -> bool:
        """Whether the updates after it are still here, and no later export overtook it."""
        before = [
            each.as_of_position
            for key, each in self.imports.items()
            if key == self.rollout.in_force or each.place in OPEN_PLACES
        ]
        first = self._pusher.store.first
        return stored.as_of_position + 1 >= first and stored.as_of_position >= max(before, default=0)

    def roll_back(self, end: End) -> None:
        """Takes the import before the one in force again, with what it carried."""
        taken = sorted((key for key, each in self.imports.items() if each.taken), reverse=True)
        if len(taken) < 2:
            end.close("FAILED_PRECONDITION")
            return
        old = self.imports[taken[1]]
        if min([old.as_of_position + 1, *old.carried]) < self._pusher.store.first:
            end.close("FAILED_PRECONDITION")
        else:
            self._pusher.tell(f"rolls back to import {taken[1]}")
            self._keep(end, StoredImport(old.file, old.as_of_position, old.carried, again=True))

    def _keep(self, end: End, stored: StoredImport) -> None:
        kept: list[int] = []

        def change() -> None:
            # One after another, as in the real catalog: an upload sees those that are here before it.
            if stored.again or self._may_keep(stored):
                import_id = max(self.imports, default=0) + 1
                self.imports[import_id] = stored
                kept.append(import_id)

        self._pusher.disk.commit(change, lambda ok: self._uploaded(end, kept, ok))

    def _uploaded(self, end: End, kept: list[int], ok: bool) -> None:
        for import_id in kept:
            end.send(import_id)
            self.handle(roll.ImportAdded(import_id))
        end.close("RESOURCE_EXHAUSTED" if not ok else "done" if kept else "FAILED_PRECONDITION")

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
        carried = self._carried.get(action.import_id, stored.carried)
        manifest = Manifest(action.import_id, stored.as_of_position, stored.file.checksum, carried)
        self._pusher.tell(f"asks {action.node} to take import {action.import_id}")
        node = self._pusher.cluster.process(action.node)
        end = self._pusher.network.connect(self._pusher, node, "load_import", LoadRequest(manifest, action.sources))
        self._loads[action.attempt] = end
        words: list[LoadWord] = []
        end.on_message = lambda word: self._load_word(action, words, word)
        end.on_end = lambda reason: self._load_ended(action, words, reason)

    def _check_passive_first(self, action: roll.Load, stored: StoredImport) -> None:
        """No untried import goes to the primary while another node that serves the one in force has long been there."""
        if stored.taken or action.node != self._primary:
            return
        if self._pusher.replication.nodes[action.node].import_id == action.import_id:
            return  # it has taken it already, and is only asked again
        # One whose loads fail is excused: a full disk on one node must not hold up an import for good.
        long_ago = self._pusher.clock.now() - 2.0 * self._settings.load_backoff_max_s - 1.0
        nodes, in_force = self._pusher.replication.nodes, self.taken
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

    def _load_word(self, action: roll.Load, words: list[LoadWord], word: LoadWord) -> None:
        words.append(word)
        node, attempt = action.node, action.attempt
        match word.phase:
            case "downloading" | "building":
                self.handle(roll.LoadProgress(node, attempt))
            case "done":
                self.handle(roll.LoadDone(node, attempt, word.carried))
            case "refused":
                self.handle(roll.LoadRefused(node, attempt, word.reason))
            case _:
                self.handle(roll.LoadFailed(node, attempt, word.reason, _begun(words[:-1])))

    def _load_ended(self, action: roll.Load, words: list[LoadWord], reason: str) -> None:
        self._loads.pop(action.attempt, None)
        if not words or words[-1].phase in ("downloading", "building"):
            self.handle(roll.LoadFailed(action.node, action.attempt, reason, _begun(words)))


def _begun(words: list[LoadWord]) -> bool:
    """Whether the node had the file, and may have died of it."""
    return bool(words) and words[-1].phase == "building"
