"""The log and the list of imports, as an interface that several engines can meet.

All methods block; call them from one writer thread (`fence`, `claim`, `follow`, `append`, `trim`, `adopt`,
`save_import`, `keep_time`, `try_room`) or from any thread (the rest).
`tests/conformance/test_log_stores.py` holds every engine to what is written here.

Who may write
-------------
Any number of processes may have a log open; one may write to it, the one whose claim is the newest. What says so is the
`Fence`, a part of the log itself, which every write compares in its own transaction. No clock has a say in it: whoever
was slow, cut off or asleep finds out at its next write, which stores nothing.

1. An epoch is given by whoever decides which pusher is active; a claim under an older one than what is in force is
   refused. It belongs to one holder: another one's claim under the same epoch is refused too.
2. The same holder may claim the same epoch again: it was started anew. Every claim is counted, and the count is what
   writes compare: the process that the holder was before is deposed by the one that it is now.
3. A pusher that has no other beside it, and whom nobody gives an epoch, claims what is in force (`claim_alone`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Self

from google.protobuf.message import DecodeError

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.log.frames import Run

if TYPE_CHECKING:
    from services.pusher.log.fencing.fence import Fence


class LogStoreError(Exception):
    """The store can't do what was asked; one line that says what to do."""


class StoreFullError(LogStoreError):
    """The disk (or the store's own limit) is full, or can't be written. Nothing was stored; it may work later."""


class LogDamagedError(LogStoreError):
    """Bytes on the disk are not those that were stored. Names the position (or the import). Never passed over.

    Attributes:
        position: Of the damaged record; 0 where it is not one record's damage.
    """

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.position = position


class LogSealedError(LogStoreError):
    """A record, or an import file beside the log, is sealed, and its key is not here: no damage, and nothing was done
    with it. Names the key and the setting."""


class LogGoneError(LogStoreError):
    """A file of the log was removed, moved or replaced under it: what is stored now would be lost. Nothing was."""


class DeposedError(LogStoreError):
    """Another writer has the log, or nobody has claimed it here. Nothing was stored; it will not work later by itself.

    Attributes:
        epoch: In force in the log.
    """

    def __init__(self, epoch: int, message: str = "") -> None:
        super().__init__(message or f"another pusher writes the log, under epoch {epoch}")
        self.epoch = epoch


class OutcomeUnknownError(DeposedError):
    """A write got no answer, and what became of it could not be found out. Its writer has given up its claim: once it
    claims again, it reads what is there."""


class KnownDamage:
    """What is known to be damaged in a log. From any thread."""

    def __init__(self) -> None:
        #: Which of its files is no longer in its place: nothing is stored meanwhile. Empty where all are.
        self.gone = ""
        #: What the last look through the log could not open, for want of a key: no damage. Empty where nothing.
        self.sealed = ""
        #: By the position of the record; what is not one record's damage is at 0. `_NOTED_MAX` at most.
        self._found: dict[int, str] = {}

    def note(self, error: LogDamagedError) -> None:
        """Somebody met it."""
        if len(self._found) < _NOTED_MAX:
            self._found.setdefault(error.position, str(error))

    def count(self, first_position: int) -> int:
        """Damaged records, of a log that begins there: what was trimmed harms nobody."""
        noted = sum(position == 0 or position >= first_position for position in list(self._found))
        return noted + bool(self.gone)

    def in_words(self, first_position: int) -> str:
        """One line with the way out; empty where nothing is known to be damaged, or to lack its key."""
        found = dict(self._found)
        told = [self.gone] if self.gone else []
        told += [found[position] for position in sorted(found) if position == 0 or position >= first_position]
        sealed = f"not all of the log can be read: {self.sealed}" if self.sealed else ""
        if not told:
            return sealed
        more = f", and {len(told) - 1} more" if len(told) > 1 else ""
        damaged = f"the log is damaged: {told[0]}{more}; see docs/operations.md, `A damaged log`"
        return f"{sealed}; {damaged}" if sealed else damaged


class NotInLogError(LogStoreError):
    """The position is no longer in the log, or not yet."""


#: More than anybody reads.
_NOTED_MAX = 1_000
#: Logs in whose place one log may have been put, so far as it remembers.
REPLACED_MAX = 64


class LogEnds(NamedTuple):
    """The oldest kept position and the newest durable one; `last == first - 1` while the log is empty."""

    first: int
    last: int


class Durability(NamedTuple):
    """What a store promises of what was acknowledged."""

    store: str
    #: It is there after the loss of any one machine.
    survives_machine_loss: bool
    #: The same in words.
    description: str


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of the updates of one `append`, by their index in it.

    Attributes:
        run: The new records, or None if there were none.
        positions: The position of each update: new, or the first one of a duplicate; 0 for a conflict.
        duplicates: Indexes of those taken before with the same content (in this call, or in an earlier one).
        conflicts: Index → position of the record that has the same id with other content.
        refusals: Index → why the rules in force refuse it; its position is 0, and its id is unused.
    """

    run: Run | None
    positions: Sequence[int]
    duplicates: frozenset[int] = frozenset()
    conflicts: dict[int, int] = field(default_factory=dict)
    refusals: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredImport:
    """An import as it is kept. `taken`: a node serves from it; the manifest's carried positions are that node's."""

    status: pusher_pb2.ImportStatus
    taken: bool


def read_imports(rows: Iterable[tuple[int, int, bytes]], path: str) -> list[StoredImport]:
    """Imports as a log in that file keeps them: number, whether taken, status. Raises LogDamagedError."""
    found = []
    for import_id, taken, status in rows:
        try:
            found.append(StoredImport(pusher_pb2.ImportStatus.FromString(status), bool(taken)))
        except DecodeError as error:
            raise LogDamagedError(f"the entry of import {import_id} in {path} is damaged: {error}") from error
    return found


class LogStore(ABC):
    """One cluster's log: updates by position (1, 2, 3, … without gaps), each update_id once; and the imports beside it.

    Duties of every engine:

    - *Atomic*: an `append` is stored whole or not at all, whatever happens in between, a power failure included.
    - *Durable*: what `append`, `trim` or `save_import` returned from is on disk (fsync).
    - *Gap-free*: new updates of an append get `last + 1` on, in their order; a failed append uses up no position.
    - *Once*: an update_id that was stored is never stored again, whether or not its record is still kept. Of one that
      was trimmed, a hash of the content is kept to compare with.
    - *Fenced*: nothing is stored but under the newest claim, compared in the same transaction as what is stored; an
      `append`, only behind the position that this process believes to be the last. A deposed writer can change nothing,
      be it in the middle of a write that it began before. A store that is open reads only, until it has claimed.
    - *Checked*: `read` and the comparison of duplicates verify checksums; damage is an error that names the position.
    """

    #: The log's own id: positions of another log mean nothing. Made once, kept with the log; changed by `adopt` only.
    log_id: str
    #: Whether something outside of the log says that receipts were given from it. Not of a new one, nor of a backup.
    vouched_for: bool
    doubted: bool = False  #: whether somebody knows of another log as the cluster's
    #: The logs in whose place this one was put, oldest first, `REPLACED_MAX` at most; and why the last time.
    replaced_log_ids: tuple[str, ...]
    adopted_reason: str
    #: What its methods met.
    damage: KnownDamage

    @property
    @abstractmethod
    def epoch(self) -> int:
        """The epoch under which this process may write, so far as it knows; 0: it reads only."""

    @abstractmethod
    def fence(self) -> Fence:
        """Who may write, as the log has it now.

        Raises:
            StoreFullError: The disk fails.
        """

    @abstractmethod
    def claim(self, epoch: int, holder: str = "") -> None:
        """From here on this process writes, and nobody who claimed before. Durable, and what others have stored until
        then is known here, when it returns. Where this epoch is the holder's already, a full disk is no hindrance: the
        claim is then a part of the first write.

        Raises:
            DeposedError: A newer epoch is in force, or this one is another holder's. Nothing has changed.
            LogElsewhereError: No epoch would do (`fencing/fence.py`). Nothing has changed.
            StoreFullError: No room, or the disk fails; nothing has changed.
            LogDamagedError: What others have stored can't be read.
        """

    def claim_alone(self) -> Self:
        """Claims under what is in force: for the only pusher, whom nobody gives an epoch. Raises as `claim`."""
        fence = self.fence()
        fence.check_here()  # whose holder is no pusher
        self.claim(max(fence.epoch, 1), fence.holder)
        return self

    @abstractmethod
    def follow(self, position: int, bytes_max: int) -> Run | None:
        """For a process that reads what another one writes: the records behind a position, at least one and about
        `bytes_max` at most; None where there are none yet. What `ends` and `log_id` say is as of now from then on, and
        so are the ids that `find` knows.

        Raises:
            NotInLogError: They were trimmed: what is there begins later, or ends before the position.
            LogDamagedError: A record is damaged.
            StoreFullError: The disk fails.
        """

    @abstractmethod
    def ends(self) -> LogEnds:
        """The ends of the log, as far as this process knows. Never waits for the disk."""

    @abstractmethod
    def append(self, update_ids: Sequence[str], contents: Sequence[bytes], rules: Sequence[int] = ()) -> Appended:
        """Stores updates; both sequences have one entry for each. `rules`: indexes of new ones that change the rules;
        they are kept for good, whatever is trimmed.

        Raises:
            StoreFullError: No room, or the disk fails; nothing was stored.
            DeposedError: This process has no claim, or a newer one was made; so does each method that writes.
            OutcomeUnknownError: It may be stored or not; so does each method that writes.
            LogGoneError: A file of the log is gone; so does each method that writes.
            LogDamagedError: A record with one of the ids is damaged, so it can't be compared; nothing was stored.
        """

    @abstractmethod
    def read(self, first_position: int, last_position: int, bytes_max: int) -> Run:
        """Records from `first_position` to at most `last_position`; at least one, and about `bytes_max` at most.

        Raises:
            NotInLogError: `first_position` is not in the log.
            LogDamagedError: A record is damaged or missing.
        """

    @abstractmethod
    def update_id_at(self, position: int) -> str:
        """The id of the update at a position, be its record damaged; empty where the position is not in the log.

        Raises:
            LogDamagedError: Not even the id can be read.
        """

    @abstractmethod
    def named(self, prefix: str) -> list[tuple[int, bytes]]:
        """Position and content of every record in the log whose update_id begins so, in the log's order. A damaged one
        is left out: whoever needs it meets it at its position."""

    @abstractmethod
    def find(self, update_ids: Sequence[str]) -> set[str]:
        """Those of the ids that are in the log. For the writer thread.

        Raises:
            StoreFullError: The disk fails.
            LogDamagedError: The ids can't be read, or a record with one of them.
        """

    @abstractmethod
    def rule_records(self) -> list[tuple[int, types_pb2.Update]]:
        """Every update that changed the rules, with its position, oldest first.

        Raises:
            LogDamagedError: One can't be read.
        """

    @abstractmethod
    def trim(self, first_position: int, count_max: int) -> int:
        """Deletes at most `count_max` records before `first_position`, the oldest first; returns how many it deleted.

        The newest record stays always, so that positions are never given out again. Ids are known for good.

        Raises:
            StoreFullError: The disk fails; nothing was deleted.
            LogDamagedError: The records can't be read, so nothing could be kept of them; nothing was deleted.
        """

    @abstractmethod
    def merge_ids(self, is_over: Callable[[], bool] = bool) -> Callable[[], None] | None:
        """Brings what is kept of trimmed ids into fewer pieces, where that is due. On any thread but the writer's, and
        not beside a `trim`; what it returns is to be called on the writer's thread. None: nothing was due.

        Raises:
            StoreFullError: No room, the disk fails, or `is_over` says so (never, by default); nothing has changed.
            LogDamagedError: A piece is damaged.
        """

    def id_checks(self, bytes_max: int) -> Sequence[Callable[[], None]]:
        """Looks through what is kept of trimmed ids, so many bytes each, though it was good before. On any thread; each
        raises LogDamagedError where that is damaged, and this process can't mend it by itself."""
        return ()

    @abstractmethod
    def adopt(self, log_id: str, replaced_log_ids: Sequence[str], reason: str) -> None:
        """Puts this log, under that id, in the place of others: an operator's word.

        Raises:
            StoreFullError: No room, or the disk fails; nothing has changed.
        """

    @abstractmethod
    def save_import(self, stored: StoredImport) -> None:
        """Stores an import, or replaces the one with its id.

        Raises:
            StoreFullError: No room, or the disk fails; nothing was stored.
        """

    @abstractmethod
    def imports(self) -> list[StoredImport]:
        """Every import, oldest first.

        Raises:
            LogDamagedError: One can't be read.
        """

    @abstractmethod
    def position_older_than(self, age_s: float) -> int:
        """The newest position known to have been in the log for so long; 0 if none is.

        By running time (`services/shared/clock.py`): no step of the wall clock makes a record older or younger.
        """

    @abstractmethod
    def keep_time(self) -> None:
        """Keeps how far the log's running time is, so that ages go on from there after a restart.

        Raises:
            StoreFullError: The disk fails.
        """

    @abstractmethod
    def try_room(self) -> None:
        """Returns where there is room for some more updates: as much is written as a few of them take, and given back.

        Raises:
            StoreFullError: No room, or the disk fails; nothing has changed.
        """

    @abstractmethod
    def durability(self) -> Durability:
        """What this store promises, as far as it knows at the moment. Never waits."""

    def waits_for(self) -> str:
        """What a write waits for that is away, and the mend, in one line; empty where none does. Never waits."""
        return ""

    @abstractmethod
    def size_bytes(self) -> int:
        """What the store takes on disk, about."""

    @abstractmethod
    def tend(self) -> None:
        """Housekeeping that the writer thread offers between two appends; short."""

    @abstractmethod
    def close(self) -> None:
        """Ends it. Nothing may be called afterwards."""
