"""One member on the wire, by the shortest way: most calls ask for one.

One kernel finds the id and writes the member from the tree's own columns, in less time than Python takes for two of
its fields. It is handed one array, of where the others lie: each array that numba takes from Python costs more than
all that is then read from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np

from services.shared.domain.limits import MEMBER_ID_LENGTH_MAX
from services.treenode.reports.columns import Column, Where
from services.treenode.reports.copy.extents import checked_id, genealogy, member_unknown, of_rows, place_of
from services.treenode.reports.copy.freeze import freeze
from services.treenode.reports.encode.cells import (
    CELL_BYTES_MAX,
    FIELD,
    TAG,
    WHERE,
    close_message,
    field_row,
    put_cell,
    put_id,
    text_table,
)
from services.treenode.reports.encode.members import HEAD_BYTES_MAX, MEMBERS_TAG, member_bytes
from services.treenode.reports.plan.choice import Choice
from services.treenode.tree import Tree
from services.treenode.tree.columns.ids import IdTable, find_row
from services.treenode.tree.kernels.addresses import PLACE, column_at, places_of, table_at
from services.treenode.tree.kernels.kernel import AnyArray, Int64s, Whole, kernel_with_gil
from services.treenode.tree.store import NOBODY, Store

#: Different choices whose columns are kept.
CHOICES_MAX = 256
NO_ROWS = np.empty(0, np.int32)


class _Places(NamedTuple):
    """What the kernel is handed first: where each of these arrays lies, as `places_of` says it."""

    #: uint8[members, w] and uint32[members, w / 4]: every id; and the hash over them.
    ids: int
    words: int
    slots: int
    kind: int
    #: By seat of the placement tree: the seat above; and the ways between rows and seats.
    placement: int
    placement_seat_of: int
    placement_row_at: int
    #: Of the tree that the choice walks; of length 0 where seats are rows.
    seat_of: int
    #: uint32[1, 8]: the id asked for.
    asked: int
    #: uint8[…]
    out: int


AT = _Places(*(PLACE * place for place in range(len(_Places._fields))))
#: Where the table of fields begins (see `cells.TAG`), behind those places.
FIELDS_AT = PLACE * len(_Places._fields)
MEMBER, SPONSOR, PLACEMENT, ROW = (int(where) for where in (Where.MEMBER, Where.SPONSOR, Where.PLACEMENT, Where.ROW))


@kernel_with_gil
def _encode_member(p: Int64s) -> Whole:
    """Writes the member with the id that is asked for; bytes written, 0 where nobody has the id. `p`: the places of
    arrays (see AT), then the table of the fields to write.
    """
    words = table_at(p[AT.words], p[AT.words + 1], p[AT.words + 2], np.uint32)
    asked = table_at(p[AT.asked], p[AT.asked + 1], p[AT.asked + 2], np.uint32)
    row = find_row(IdTable(words, column_at(p[AT.slots], p[AT.slots + 1], np.int32)), asked, 0)
    if row < 0 or column_at(p[AT.kind], p[AT.kind + 1], np.uint8)[row] == NOBODY:
        return 0
    ids = table_at(p[AT.ids], p[AT.ids + 1], p[AT.ids + 2], np.uint8)
    out = column_at(p[AT.out], p[AT.out + 1], np.uint8)
    seat_of = column_at(p[AT.seat_of], p[AT.seat_of + 1], np.int32)
    seat = np.int64(seat_of[row]) if seat_of.shape[0] else row
    out[0] = MEMBERS_TAG
    at = 2
    for field in range(FIELDS_AT, p.shape[0], FIELD):
        where = p[field + WHERE]
        if where == MEMBER:
            at = put_id(out, at, p[field + TAG], ids, row)
        elif where == PLACEMENT:
            placement = column_at(p[AT.placement], p[AT.placement + 1], np.int32)
            placement_seat = column_at(p[AT.placement_seat_of], p[AT.placement_seat_of + 1], np.int32)[row]
            above = np.int64(placement[placement_seat])
            if above >= 0:
                above = np.int64(column_at(p[AT.placement_row_at], p[AT.placement_row_at + 1], np.int32)[above])
            at = put_id(out, at, p[field + TAG], ids, above)
        elif where in (ROW, SPONSOR):
            at = put_cell(out, at, ids, p, field, row)
        else:
            at = put_cell(out, at, ids, p, field, seat)
    return close_message(out, 1, at)


@dataclass(frozen=True, slots=True)
class _Way:
    """A choice's way through one store."""

    places: Int64s
    #: What the places lead to.
    kept: list[AnyArray]
    out: memoryview


class MemberEncoder:
    """Encodes members of the node's tree, one at a time. Used on the event loop, between two updates."""

    def __init__(self) -> None:
        self._asked = np.empty((1, MEMBER_ID_LENGTH_MAX // 4), np.uint32)
        self._asked_bytes = memoryview(cast(Any, self._asked.view(np.uint8)[0]))
        #: What `_way` is of, and those of other choices from the same store.
        self._store: Store | None = None
        self._choice: Choice | None = None
        self._way: _Way | None = None
        self._by_choice: dict[Choice, _Way | None] = {}

    def encode(self, tree: Tree, choice: Choice, member_id: str) -> bytes:
        """The member as field 2 of an answer; its level counts from the root.

        Raises:
            InvalidArgumentError: It is no id.
            NotFoundError: Nobody has it, or the member has left.
        """
        checked_id(member_id, "member_id")
        if choice.leads is not None:
            return self._encode_seen(tree, choice, member_id)
        found = self.encode_known(tree, choice, member_id.encode("ascii"))
        if found is not None:
            return found
        if self._way is not None:
            raise member_unknown(member_id, "member_id")
        return self._encode_seen(tree, choice, member_id)

    @staticmethod
    def _encode_seen(tree: Tree, choice: Choice, member_id: str) -> bytes:
        """By the way of all reports, which a leader's are held to."""
        row = np.array([place_of(tree, choice, member_id).row], np.int32)
        return member_bytes(freeze(tree, choice, of_rows(tree, choice, row)), choice)

    def encode_known(self, tree: Tree, choice: Choice, member_id: bytes) -> bytes | None:
        """The same of an id that is at most as long as ids may be and ends in no NUL; None where nobody has it, and for
        a choice that has no way of its own through the store, as a leader's has none."""
        if choice.leads is not None:
            return None
        if choice is not self._choice or tree.store is not self._store:
            self._turn_to(tree, choice)
        way = self._way
        if way is None:
            return None
        self._asked_bytes[:] = member_id.ljust(MEMBER_ID_LENGTH_MAX, b"\0")
        size = _encode_member(way.places)
        return way.out[:size].tobytes() if size else None

    def encode_each(self, tree: Tree, choice: Choice, member_ids: Sequence[str]) -> tuple[bytes, list[str]] | None:
        """A few members likewise, in the order asked, and the ids that nobody has; None for a choice that has no way of
        its own through the store, as a leader's has none. The ids must have an id's form."""
        if choice.leads is not None:
            return None
        if choice is not self._choice or tree.store is not self._store:
            self._turn_to(tree, choice)
        way = self._way
        if way is None:
            return None
        parts, unknown = [], []
        for member_id in member_ids:
            self._asked_bytes[:] = member_id.encode("ascii").ljust(MEMBER_ID_LENGTH_MAX, b"\0")
            size = _encode_member(way.places)
            if size:
                parts.append(way.out[:size].tobytes())
            else:
                unknown.append(member_id)
        return b"".join(parts), unknown

    def _turn_to(self, tree: Tree, choice: Choice) -> None:
        if tree.store is not self._store or len(self._by_choice) >= CHOICES_MAX:
            self._by_choice.clear()
        self._store, self._choice = tree.store, choice
        if choice not in self._by_choice:
            plain = not choice.volumes and not choice.further
            self._by_choice[choice] = self._way_of(tree, choice) if plain else None
        self._way = self._by_choice[choice]

    def _way_of(self, tree: Tree, choice: Choice) -> _Way:
        store, walked = tree.store, genealogy(tree, choice)
        out = np.empty(HEAD_BYTES_MAX + CELL_BYTES_MAX * len(choice.plain), np.uint8)
        arrays: dict[str, AnyArray] = {
            "ids": store.ids.words.view(np.uint8).reshape(len(store.ids.words), -1),
            "words": store.ids.words,
            "slots": store.ids.slots,
            "kind": store.kind,
            "placement": store.placement.parent,
            "placement_seat_of": store.placement.seat_of,
            "placement_row_at": store.placement.row_at,
            "seat_of": walked.seat_of,
            "asked": self._asked,
            "out": out,
        }
        kept = [arrays[name] for name in _Places._fields]
        places, fields = places_of(kept), []
        for column in choice.plain:
            values = _values(tree, choice, column)
            texts = None if column.names is None else text_table(column, column.names(tree))
            fields.append(field_row(column, values, texts))
            kept += [values] if texts is None else [values, texts]
        table = np.array(fields, np.int64).ravel()
        return _Way(np.concatenate((places, table)), kept, memoryview(cast(Any, out)))


def _values(tree: Tree, choice: Choice, column: Column) -> AnyArray:
    """The tree's own array behind a column; of those whose way the kernel knows, nothing."""
    if column.where is Where.SPONSOR:
        return tree.sponsor.parent
    if column.values is None:
        return NO_ROWS
    return column.values(tree, genealogy(tree, choice), tree.slots.of(choice.volume_type, choice.period))
