"""The imports so far, for what is decided by them: which file may come next, or come back, and what is still needed.

The rules
---------
1. An export that began before the one that it would replace is *overtaken*: what was held when it was taken may be in
   the newer tree by now, and that tree can no longer tell. It would be neither in this file nor carried, and lost. A
   rollback may go back all the same: it takes a file whose carried updates are known.
2. Every update after the position that a file is as of, and every one that it carries, has to be in the log.
3. A rollback goes to the import that was taken before the one in force.
4. Needed are the imports that are not over, the one in force, the one before it, and any that is newer than the one in
   force: a node may turn out to serve one that was refused.
5. The log keeps what a needed import needs, what a node lacks that was not away for too long, what is young, and its
   newest record. Until a node has taken an import it keeps everything: a file that nobody took may turn out bad, and a
   new node can be built from nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from services.pusher.fanout.progress import NodeReplication
from services.pusher.imports.events import ImportPlace
from services.pusher.imports.places import OPEN_PLACES
from services.pusher.log.store import LogEnds


@dataclass(frozen=True, slots=True)
class PastImport:
    """An import that is here. `carried_positions`: known once it is `taken`."""

    import_id: int
    as_of_position: int
    place: ImportPlace = ImportPlace.WAITING
    taken: bool = False
    carried_positions: tuple[int, ...] = ()

    @property
    def first_needed(self) -> int:
        """The oldest position that it needs from the log."""
        return min([self.as_of_position + 1, *self.carried_positions])


class ImportProblem(Enum):
    """Why an import can't be kept, or come back."""

    #: Its position is after the log's end.
    NOT_IN_LOG_YET = "not_in_log_yet"
    #: Updates that it needs are no longer in the log.
    NO_LONGER_IN_LOG = "no_longer_in_log"
    OVERTAKEN = "overtaken"
    #: There is no import to go back to.
    NOTHING_BEFORE = "nothing_before"


@dataclass(frozen=True, slots=True)
class ImportRefused:
    """An import can't be kept, or come back; the message says why, and what to do."""

    problem: ImportProblem
    message: str


class ImportHistory:
    """Every import that is here, and what follows from them."""

    def __init__(self, imports: Iterable[PastImport]) -> None:
        self._imports = sorted(imports, key=lambda each: each.import_id)
        self._taken = [each for each in reversed(self._imports) if each.taken]

    @property
    def in_force(self) -> int:
        """The newest import that a node has taken; 0 for none."""
        return self._taken[0].import_id if self._taken else 0

    @property
    def next_id(self) -> int:
        """The next import's id."""
        return self._imports[-1].import_id + 1 if self._imports else 1

    def why_refused(self, as_of_position: int, ends: LogEnds) -> ImportRefused | None:
        """Why a file that was taken at that position can't be kept; None where it can."""
        if as_of_position > ends.last:
            text = f"as_of_position {as_of_position} is after the log's end, {ends.last}"
            return ImportRefused(ImportProblem.NOT_IN_LOG_YET, text)
        if as_of_position + 1 < ends.first:
            text = (
                f"updates after position {as_of_position} are no longer in the log, which begins at {ends.first}: "
                "take a newer file"
            )
            return ImportRefused(ImportProblem.NO_LONGER_IN_LOG, text)
        for each in self._imports:
            counts = each.import_id == self.in_force or each.place in OPEN_PLACES
            if counts and each.as_of_position > as_of_position:
                text = (
                    f"as_of_position {as_of_position} is before {each.as_of_position}, that of import "
                    f"{each.import_id}: this export was overtaken; export again, or roll back"
                )
                return ImportRefused(ImportProblem.OVERTAKEN, text)
        return None

    def to_go_back_to(self, ends: LogEnds) -> PastImport | ImportRefused:
        """The import that a rollback takes again, with what it carried."""
        if len(self._taken) < 2:
            return ImportRefused(
                ImportProblem.NOTHING_BEFORE, "there is no import before the one in force to go back to"
            )
        before = self._taken[1]
        if before.first_needed < ends.first:
            text = (
                f"import {before.import_id} needs updates from {before.first_needed} on; the log begins at {ends.first}"
            )
            return ImportRefused(ImportProblem.NO_LONGER_IN_LOG, text)
        return before

    def needed(self, taken_max: int = 2) -> list[PastImport]:
        """The imports that may still be asked for, oldest first; of those taken at least the two newest."""
        kept = {each.import_id for each in self._taken[: max(2, taken_max)]}
        return [
            each
            for each in self._imports
            if each.import_id in kept or each.place in OPEN_PLACES or each.import_id > self.in_force
        ]

    def first_kept(
        self,
        ends: LogEnds,
        old_position: int,
        nodes: Iterable[NodeReplication],
        *,
        taken_max: int = 2,
        away_since: float,
        started_at: float,
    ) -> int:
        """The oldest position that has to stay in the log.

        Args:
            ends: Of the log.
            old_position: The newest one that is old enough to go.
            nodes: Those known.
            taken_max: See `needed`.
            away_since: A node that was not seen since then takes a snapshot when it comes back.
            started_at: When the pusher started: a node that it never saw counts as seen then.
        """
        needs = [each.first_needed for each in self.needed(taken_max)] if self._taken else [ends.first]
        needs += [
            # One that was never seen by this process may lack anything.
            node.applied_position + 1 if node.ever_stood else ends.first
            for node in nodes
            if node.connected or (started_at if node.seen_at is None else node.seen_at) >= away_since
        ]
        return max(ends.first, min([old_position + 1, ends.last, *needs]))
