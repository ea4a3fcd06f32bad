"""The promises, checked from outside: what processes did is reported here, and held against what may be.

The checkers know nothing of the cores. They keep the one history that all reports must fit: which update has which
position, which digest each (import, position) has, who was primary in which epoch. `Violation` says which promise is
broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from services.shared.rules import RulesHistory
from tests.simulator.toy_tree import RULE, SKIP, ImportFile, ToyTree, Update, real, resolved

if TYPE_CHECKING:
    from tests.simulator.pusher_imports import StoredImport


class Violation(Exception):  # noqa: N818 - a broken promise is what it is; nobody handles it as an error
    """A promise was broken; the text names it."""


class History:
    """The log as the world saw it: each update's one position, and each state's one digest."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begins anew: positions of another log mean nothing here."""
        #: Every update whose position somebody was told of, acknowledged or applied.
        self.by_position: dict[int, Update] = {}
        self.position_of: dict[str, int] = {}
        #: Positions that were acknowledged to a client: these may never be lost.
        self.acknowledged: set[int] = set()
        #: Digest of each (import, position) that a node stood at.
        self.digests: dict[tuple[int, int], int] = {}
        #: Imports by id, as the pusher has them on disk.
        self.imports: dict[int, StoredImport] = {}
        #: What each import that some node took carries, as the first of them said. The pusher may never hear of one:
        #: the word is lost, and a newer import takes that one's place.
        self.carried_by: dict[int, tuple[int, ...]] = {}
        #: Highest position that some node has applied.
        self.applied_position = 0
        #: The nodes have another past than the log, and no operator has said to go on: nothing may be taken.
        self.contested = False
        #: Nodes that had a tree when the log was replaced: none of them may be seen empty.
        self.had_trees: frozenset[str] = frozenset()

    def forget_after(self, last: int) -> None:
        """The operator brought back a backup: what came after `last` is lost by that, and its positions are free."""
        for position in [position for position in self.by_position if position > last]:
            del self.position_of[self.by_position.pop(position).update_id]
        self.acknowledged = {position for position in self.acknowledged if position <= last}
        self.digests = {key: digest for key, digest in self.digests.items() if key[1] <= last}
        self.applied_position = min(self.applied_position, last)

    def placed(self, position: int, update: Update, teller: str) -> None:
        """Somebody said that the update has that position."""
        known = self.by_position.get(position)
        if known is None:
            before = self.position_of.get(update.update_id, position)
            if before != position:
                raise Violation(f"twice: {teller} has {update.update_id} at {position}, it was at {before}")
            self.by_position[position] = update
            self.position_of[update.update_id] = position
        elif known is not update and known != update:
            raise Violation(f"order: {teller} has {update} at {position}, it was {known}")

    def acknowledge(self, position: int, update: Update, client: str) -> None:
        """A client got a receipt: from now on the update is never lost."""
        if self.contested:
            raise Violation(f"taken: {client} has a receipt for {update}, of a log that nobody adopted")
        self.placed(position, update, client)
        self.acknowledged.add(position)

    def applied(self, node: str, before: int, position: int, update: Update) -> None:
        """A node applied an update to a tree that stood at `before`."""
        if position != before + 1:
            raise Violation(f"gap or repeat: {node} applied {position} to a tree at {before}")
        known = self.by_position.get(position)
        if known is not update:
            self.placed(position, update, node)
        if position > self.applied_position:
            self.applied_position = position

    def read(self, node: str, served: ToyTree, *, is_old: bool, came_late: bool) -> None:
        """A report was answered from that tree. `is_old`: it is of the log that was replaced; `came_late`: the node's
        process began when an import was in force."""
        if came_late and not is_old and served.is_bare:
            raise Violation(f"bare: {node} says of everybody that there is nobody, and an import is in force")
        if node in self.had_trees and not is_old and not served.import_id:
            raise Violation(f"emptied: {node} had a tree, and shows one that was begun with nothing")

    def stands(self, node: str, import_id: int, position: int, digest: int) -> None:
        """A node's tree stands there."""
        key = (import_id, position)
        known = self.digests.setdefault(key, digest)
        self.applied_position = max(self.applied_position, position)  # also where it came whole
        if known != digest:
            raise Violation(f"digest: {node} at import {import_id}, position {position} differs from what was there")

    def took_import(self, node: str, import_id: int, file: ImportFile, carried: tuple[int, ...]) -> None:
        """A node swapped to the tree of an import, which carries the same on every node."""
        if not file.sound:
            raise Violation(f"import: {node} serves from import {import_id}, whose file is bad")
        known = self.carried_by.setdefault(import_id, carried)
        if known != carried:
            raise Violation(f"import: {node} takes {import_id} with {carried}, another took it with {known}")

    def replay(self, import_id: int, position: int) -> ToyTree:
        """The state at (import_id, position), made anew from file and log alone."""
        return self._replay(self.by_position.__getitem__, skipped_by(self.by_position.values()), import_id, position)

    def replay_log(
        self, log: Sequence[Update], imports: Mapping[int, StoredImport], import_id: int, position: int
    ) -> ToyTree:
        """The same from a log at hand."""
        self.imports.update(imports)
        return self._replay(lambda place: log[place - 1], skipped_by(log), import_id, position)

    def _replay(
        self, update_at: Callable[[int], Update], skips: frozenset[int], import_id: int, position: int
    ) -> ToyTree:
        tree, first = ToyTree(), 1
        if import_id:
            stored = self.imports[import_id]
            as_of = stored.as_of_position
            first = as_of + 1
            past = ((place, update_at(place)) for place in range(1, max(first, 2)))
            rules = RulesHistory((place, real(update)) for place, update in past if update.kind == RULE)
            tree = ToyTree(import_id, as_of, stored.file.members, rules.at(as_of))
            tree.skips = skips
            # By the log itself, whatever the manifest says.
            carried = self.carried_by.get(import_id, stored.carried)
            tree.offer_carried((held, resolved(update_at(held), rules.at(held - 1))) for held in carried)
        tree.skips = skips
        for place in range(first, position + 1):
            tree.apply(place, update_at(place))
        return tree

    def check_log(self, log: Sequence[Update]) -> None:
        """The log holds everything that was acknowledged, where it was, and each id once."""
        for position, update in enumerate(log, 1):
            self.placed(position, update, "the log")
        lost = [position for position in self.acknowledged if position > len(log)]
        if lost:
            raise Violation(f"lost: the log ends at {len(log)}, but {sorted(lost)[:5]} were acknowledged")

    def check_orders(self, tree: ToyTree) -> None:
        """The door is exact: no order is in the log that the rules refuse at its position."""
        if tree.refused_orders:
            told = [self.by_position[position] for position in sorted(tree.refused_orders)[:5]]
            raise Violation(f"door: {told} were taken, and can have no effect")

    def check_imports(self, imports: Mapping[int, StoredImport]) -> None:
        """Each import that was in force, or that some node took, carries exactly what was held when its file was taken;
        so the pusher recorded it, where it did; and bad files were refused."""
        self.imports.update(imports)
        for import_id, stored in imports.items():
            if stored.taken and not stored.file.sound:
                raise Violation(f"import: {import_id} is in force, but its file is bad")
            carried = self.carried_by.get(import_id, stored.carried)
            if (stored.taken or stored.again) and stored.carried != carried:
                raise Violation(f"import: {import_id} is recorded with {stored.carried}, nodes took it with {carried}")
            if stored.again or not (stored.taken or import_id in self.carried_by):
                continue
            before = [0, *(key for key, older in imports.items() if key < import_id and older.taken)]
            possible: set[tuple[int, ...]] = set()
            if stored.file.in_force == before[-1]:
                possible, before = {stored.file.held}, []
            # Exports overlapped: what was held then, in the eyes of any import that came before. One that some node
            # took unheard comes before as well: whoever exported could not know of it, and that node may be asked.
            unheard = [key for key in self.carried_by if key < import_id and not imports[key].taken]
            possible |= {
                tuple(self.replay(key, stored.as_of_position).held)
                for key in (*before, *unheard)
                if key == 0 or imports[key].as_of_position <= stored.as_of_position
            }
            if carried not in possible and not (stored.nobody_knows and not carried):
                raise Violation(f"import: {import_id} carries {carried}; held were {sorted(possible)}")


def skipped_by(updates: Iterable[Update]) -> frozenset[int]:
    """What these decisions of operators skip."""
    return frozenset(update.member for update in updates if update.kind == SKIP)


class Reign:
    """Who was primary when, by each node's own belief at real instants, and by whose election."""

    def __init__(self) -> None:
        #: The one node that each epoch belongs to.
        self.primary_of: dict[int, str] = {}
        #: Highest epoch that each process has seen, over restarts for the coordinator's store.
        self.epoch_seen: dict[str, int] = {}
        self.elections = 0

    def elected(self, epoch: int, node: str) -> None:
        """A node was told, or a store was given, that it is primary in that epoch."""
        known = self.primary_of.get(epoch)
        if known is None:
            self.primary_of[epoch] = node
            self.elections += 1
        elif known != node:
            raise Violation(f"epoch {epoch} was given to {known} and to {node}")

    def saw_epoch(self, process: str, epoch: int) -> None:
        """A process holds that epoch now."""
        if epoch < self.epoch_seen.get(process, 0):
            raise Violation(f"epoch: {process} went back from {self.epoch_seen[process]} to {epoch}")
        self.epoch_seen[process] = epoch

    def forget(self, process: str) -> None:
        """The process began a new life: what it held in memory is gone."""
        self.epoch_seen.pop(process, None)

    @staticmethod
    def alone(node: str, others: list[str]) -> None:
        """A node begins to believe itself primary; `others` believe so at the same real instant."""
        if others:
            raise Violation(f"two primaries: {node} begins while {', '.join(others)} still is")
