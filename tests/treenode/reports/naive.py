"""The oracle: every report from plain dicts, the slow and obvious way.

It takes base facts only from the tree (who is above whom, own volumes, profile); all that follows from them it computes
itself, member by member.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from fasttree.v1 import types_pb2
from services.shared.domain.limits import DECIMAL_SCALE
from services.treenode.tree import NO_DAY, NO_NUMBER, Tree
from services.treenode.tree.columns.further import Column

SPONSOR, PLACEMENT = types_pb2.TREE_SPONSOR, types_pb2.TREE_PLACEMENT


@dataclass
class Person:
    """A place in the tree; an empty one has kind 0."""

    member_id: str
    #: By tree: id of whoever stands above; empty for none.
    above: dict[int, str]
    leg: int
    kind: int
    status: str
    rank: int
    joined_on: str
    personal: dict[tuple[str, str], int]
    columns: dict[str, str]
    children: dict[int, list[Person]] = field(default_factory=lambda: {SPONSOR: [], PLACEMENT: []})


def text_at(column: Column, row: int) -> str:
    """What a further column holds of a row, as text; empty where it is unknown."""
    value = int(column.values[row])
    if column.kind == "text":
        return column.text_at(row)
    if value in (NO_DAY, NO_NUMBER):
        return ""
    if column.kind == "date":
        return str(datetime.date(1970, 1, 1) + datetime.timedelta(days=value))
    return str(value) if column.kind == "integer" else f"{(Decimal(value) / 10**DECIMAL_SCALE).normalize():f}"


class NaiveTree:
    """A copy of a tree's base facts."""

    def __init__(self, tree: Tree) -> None:
        self.slot_keys = [key for key, _ in tree.slots.in_order]
        self._known_totals: dict[tuple[int, str], tuple[dict[tuple[str, str], int], int]] = {}
        self.people = {person.member_id: person for person in self._people(tree)}
        for person in self.people.values():
            for which in (SPONSOR, PLACEMENT):
                if person.above[which]:
                    self.people[person.above[which]].children[which].append(person)

    def _people(self, tree: Tree) -> list[Person]:
        store, people = tree.store, []

        def name(row: int) -> str:
            return store.ids.words[row].tobytes().rstrip(b"\0").decode() if row >= 0 else ""

        for row in range(store.used):
            if tree.sponsor.parent[row] == -2:
                continue
            above = int(tree.placement.parent[tree.placement.seat_of[row]])
            day = int(store.joined_on[row])
            people.append(
                Person(
                    member_id=name(row),
                    above={
                        SPONSOR: name(int(tree.sponsor.parent[row])),
                        PLACEMENT: name(int(tree.placement.row_at[above])) if above >= 0 else "",
                    },
                    leg=int(store.leg[row]),
                    kind=int(store.kind[row]),
                    status=tree.statuses.texts[store.status[row]],
                    rank=int(store.rank[row]),
                    joined_on="" if day == NO_DAY else str(datetime.date(1970, 1, 1) + datetime.timedelta(days=day)),
                    personal={key: int(store.personal[slot, row]) for key, slot in tree.slots.in_order},
                    columns={name: text for name, column in tree.further.items() if (text := text_at(column, row))},
                )
            )
        return people

    def walk(self, which: int, start: str) -> list[tuple[Person, int]]:
        """(person, level) of a downline with its head, or of every root's; empty places too; in some tree order."""
        heads = [self.people[start]] if start else self.roots(which)
        found, stack = [], [(head, 0) for head in heads]
        while stack:
            person, level = stack.pop()
            found.append((person, level))
            stack += [(child, level + 1) for child in person.children[which]]
        return found

    def roots(self, which: int) -> list[Person]:
        """Those above whom nobody stands; not the holding tank."""
        return [
            person
            for person in self.people.values()
            if not person.above[SPONSOR] and (which == SPONSOR or not person.above[PLACEMENT])
        ]

    def level(self, which: int, member_id: str) -> int:
        """Levels below the top."""
        return len(self.upline(which, member_id))

    def upline(self, which: int, member_id: str) -> list[Person]:
        """Everyone above, nearest first; empty places too."""
        found = []
        while member_id := self.people[member_id].above[which]:
            found.append(self.people[member_id])
        return found

    def message(self, which: int, slot: tuple[str, str], person: Person, level: int) -> types_pb2.Member:
        """The member with every column."""
        groups, members_below = self._totals(which, person)
        member = types_pb2.Member(
            member_id=person.member_id,
            sponsor_id=person.above[SPONSOR],
            placement_id=person.above[PLACEMENT],
            placement_leg=person.leg,
            kind=types_pb2.MemberKind.ValueType(person.kind),
            status=person.status,
            rank=person.rank,
            joined_on=person.joined_on,
            level=level,
            pv_hundredths=person.personal[slot],
            gv_hundredths=groups[slot],
            downline_count=members_below,
            columns=person.columns,
        )
        for key in self.slot_keys:
            member.volumes.add(
                volume_type=key[0],
                period=key[1],
                personal_hundredths=person.personal[key],
                group_hundredths=groups[key],
            )
        return member

    def _totals(self, which: int, person: Person) -> tuple[dict[tuple[str, str], int], int]:
        """Group volumes, and the members below."""
        known = self._known_totals.get((which, person.member_id))
        if known is None:
            below = [other for other, _ in self.walk(which, person.member_id)]
            groups = {key: sum(other.personal[key] for other in below) for key in self.slot_keys}
            known = groups, sum(other.kind > 0 for other in below) - (person.kind > 0)
            self._known_totals[which, person.member_id] = known
        return known

    def downline(
        self,
        which: int,
        slot: tuple[str, str],
        start: str,
        passes: Callable[[types_pb2.Member], bool] = lambda member: True,
    ) -> list[types_pb2.Member]:
        """The members of a downline that pass, with every column, by id."""
        members = [self.message(which, slot, *entry) for entry in self.walk(which, start) if entry[0].kind]
        return sorted(filter(passes, members), key=lambda member: member.member_id)


def members_of(naive: NaiveTree) -> list[str]:
    """Ids of those who are not empty places."""
    return sorted(person.member_id for person in naive.people.values() if person.kind)
