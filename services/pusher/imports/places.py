"""Where each import is in its rollout, and which one is in force. Which node takes which, and when: `rollout.py`.

| place | meaning |
|---|---|
| waiting | no node has begun with it |
| rolling out | nodes take it, one after another |
| done | every connected node serves from it |
| refused | a node found the file bad, or too many nodes died of it |
| superseded | a newer one is in force: this one won't be |

An import is *taken* once a node serves from it and that, with the node's carried positions, is on disk. The newest one
that is taken is *in force*. The newest one that may still come in force is the *candidate*: nodes get it next. An older
one stays open beside it, and is the candidate again where the newer one is refused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from services.pusher.imports.events import ImportPlace, RecordPlace


class RolloutBrokenError(Exception):
    """A rule of the rollout was broken: a fault of the program, never of a node or a file. Tells what led there."""


#: An import in one of these may still become the one in force.
OPEN_PLACES = frozenset({ImportPlace.WAITING, ImportPlace.ROLLING_OUT})

#: From each state, the states that may follow it. A refused one rolls out again if a node turns out to serve it
#: after all (its word had been lost, and counted as its death). A superseded one goes on where an earlier version had
#: called it so as soon as a newer one came: it may be in force, or be served by a node.
TRANSITIONS: dict[ImportPlace, frozenset[ImportPlace]] = {
    ImportPlace.WAITING: frozenset({ImportPlace.ROLLING_OUT, ImportPlace.SUPERSEDED}),
    ImportPlace.ROLLING_OUT: frozenset({ImportPlace.DONE, ImportPlace.REFUSED, ImportPlace.SUPERSEDED}),
    ImportPlace.DONE: frozenset(),
    ImportPlace.REFUSED: frozenset({ImportPlace.ROLLING_OUT, ImportPlace.SUPERSEDED}),
    ImportPlace.SUPERSEDED: frozenset({ImportPlace.ROLLING_OUT}),
}


@dataclass(frozen=True, slots=True)
class KnownImport:
    """An import as it was recorded. `taken`: a node serves from it, and its carried positions are stored."""

    import_id: int
    place: ImportPlace
    taken: bool


@dataclass(slots=True)
class RolloutImport:
    """An import as the rollout sees it."""

    import_id: int
    place: ImportPlace
    #: Whether a node serves from it and its carried positions are on disk.
    taken: bool
    #: Canaries that failed after they had begun with it.
    deaths: int = 0


class ImportPlaces:
    """Every import that was recorded, by id. Each change of place is an action: it goes on disk."""

    def __init__(self, imports: tuple[KnownImport, ...]) -> None:
        """`imports`: in any order."""
        self._imports = {
            known.import_id: RolloutImport(known.import_id, known.place, known.taken)
            for known in sorted(imports, key=lambda known: known.import_id)
        }
        #: The newest import that is taken; 0 before the first.
        self.in_force = max((known.import_id for known in imports if known.taken), default=0)
        self._story: deque[str] = deque(maxlen=24)

    def __iter__(self) -> Iterator[RolloutImport]:
        return iter(self._imports.values())

    def __contains__(self, import_id: int) -> bool:
        return import_id in self._imports

    def __getitem__(self, import_id: int) -> RolloutImport:
        return self._imports[import_id]

    @property
    def candidate(self) -> int:
        """The newest import neither refused nor superseded, or the one in force."""
        return max([known.import_id for known in self if known.place in OPEN_PLACES] + [self.in_force])

    def add(self, import_id: int) -> None:
        """A new import waits. Raises RolloutBrokenError where its id is not above all others."""
        newest = max(self._imports, default=0)
        if import_id <= newest:
            raise self.broken(f"import {import_id} came after import {newest}: ids only grow")
        self._imports[import_id] = RolloutImport(import_id, ImportPlace.WAITING, taken=False)

    def take(self, import_id: int) -> None:
        """The import is taken."""
        self._imports[import_id].taken = True
        self.in_force = max(self.in_force, import_id)
        self.tell(f"import {import_id} is taken")

    def move(self, import_id: int, place: ImportPlace, reason: str) -> RecordPlace:
        """Puts an import elsewhere. Raises RolloutBrokenError where the table has nothing."""
        known = self._imports[import_id]
        if place not in TRANSITIONS[known.place]:
            raise self.broken(f"import {import_id}: {known.place} cannot become {place} ({reason})")
        self.tell(f"import {import_id}: {known.place} -> {place}: {reason}")
        known.place = place
        return RecordPlace(import_id, place, reason)

    def supersede(self) -> list[RecordPlace]:
        """Closes what is older than the import in force, and that one's own end if it was called superseded.

        After a start, too: the pusher may have died before the end of an older one was recorded.
        """
        moved = [
            self.move(known.import_id, ImportPlace.SUPERSEDED, f"import {self.in_force} is in force")
            for known in self
            if known.place in OPEN_PLACES and known.import_id < self.in_force
        ]
        if self.in_force and self[self.in_force].place is ImportPlace.SUPERSEDED:
            moved.append(self.move(self.in_force, ImportPlace.ROLLING_OUT, "it is in force"))
        return moved

    def tell(self, line: str) -> None:
        """Adds a line to the story that an error would tell."""
        self._story.append(line)

    def broken(self, what: str) -> RolloutBrokenError:
        """The error for a rule that does not hold."""
        return RolloutBrokenError(f"{what}; before: {'; '.join(self._story) or 'nothing'}")

    def problems(self) -> list[str]:
        """Each rule that does not hold, in words."""
        problems = []
        for known in self:
            if known.place is ImportPlace.DONE and not known.taken:
                problems.append(f"import {known.import_id} is done, but no node took it")
            if known.place in OPEN_PLACES and known.import_id < self.in_force:
                problems.append(f"import {known.import_id} is {known.place} though import {self.in_force} is in force")
            if known.place is ImportPlace.SUPERSEDED and known.import_id == self.in_force:
                problems.append(f"import {known.import_id} is in force and superseded")
            if known.taken and known.place in (ImportPlace.REFUSED, ImportPlace.WAITING):
                problems.append(f"import {known.import_id} is taken and {known.place}")
        return problems
