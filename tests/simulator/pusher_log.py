"""The pusher's log in the simulator: what is on its disk, and who reads it. The rules of a log are the real ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fasttree.v1 import types_pb2
from services.pusher.log.engine.placing import place
from services.pusher.log.store import Appended, LogDamagedError, LogEnds
from tests.simulator.network import End
from tests.simulator.toy_tree import RULE, Update, real


class PusherLog:
    """A store of updates. All of it survives a crash, but what a planted bug did not sync."""

    def __init__(self) -> None:
        #: The update at each position, from 1.
        self.updates: list[Update] = []
        #: The oldest position that is kept; what came before is only remembered for the checkers.
        self.first = 1
        #: Position of a record whose bytes are wrong; 0: none.
        self.damaged = 0
        #: The position of each id.
        self.ids: dict[str, int] = {}
        #: What a crash takes back.
        self.unsynced: list[Callable[[], None]] = []

    @property
    def ends(self) -> LogEnds:
        return LogEnds(self.first, len(self.updates))

    def find(self, update_ids: Sequence[str]) -> list[str]:
        """Those of the ids that are in the log."""
        return [update_id for update_id in update_ids if self.position_of(update_id) is not None]

    def rule_records(self) -> list[tuple[int, types_pb2.Update]]:
        """The records that change the rules: these are never trimmed."""
        return [(position, real(update)) for position, update in enumerate(self.updates, 1) if update.kind == RULE]

    def append(self, update_ids: Sequence[str], updates: Sequence[Update], _rules: Sequence[int] = ()) -> Appended:
        known: dict[str, tuple[int, Update]] = {}
        for update_id in update_ids:
            position = self.position_of(update_id)
            if position is not None:
                if position == self.damaged:
                    raise LogDamagedError(f"log record at position {position} is damaged", position)
                known[update_id] = (position, self.updates[position - 1])
        placed = place(update_ids, updates, known, len(self.updates) + 1)
        self.ids.update(zip(placed.fresh, range(len(self.updates) + 1, 1 << 62), strict=False))
        self.updates.extend(placed.fresh.values())
        return Appended(None, placed.positions, placed.duplicates, placed.conflicts)

    def position_of(self, update_id: str) -> int | None:
        """Where the update with that id is; None if nowhere."""
        return self.ids.get(update_id)

    def holds(self, position: int, update: Update) -> bool:
        """Whether the update is on the disk at that position."""
        return 0 < position <= len(self.updates) and self.updates[position - 1] == update

    def crash(self) -> None:
        """What was never synced is gone."""
        for undo in reversed(self.unsynced):
            undo()
        self.unsynced.clear()

    def restore(self, last: int) -> None:
        """The log as an older backup has it, up to `last`. While the process is down."""
        for update in self.updates[last:]:
            del self.ids[update.update_id]
        del self.updates[last:]

    def send(self, end: End, first: int, last: int) -> None:
        """Sends records in order, then ends the stream; before a damaged record, if there is one among them."""
        if not self.first <= first <= last <= len(self.updates):
            end.close("OUT_OF_RANGE")
            return
        is_whole = not first <= self.damaged <= last
        stop = last + 1 if is_whole else self.damaged
        records = [(position, self.updates[position - 1]) for position in range(first, stop)]
        for start in range(0, len(records), 20):
            end.send(tuple(records[start : start + 20]))
        end.close("done" if is_whole else "DATA_LOSS")
