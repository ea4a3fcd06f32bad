"""One member on the wire, by the shortest way: most calls ask for one.

One kernel finds the id and writes the member from the tree's own columns, in less time than Python takes for two of
its fields. It is handed one array, of where the others lie: each array that numba takes from Python costs more than
all that is then read from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np

from services.treenode.reports.copy.reading import checked_id, freeze, genealogy, member_unknown, of_rows, row_of_member
from services.treenode.reports.encode import wire
from services.treenode.reports.encode.encoding import WANTED, member_bytes, status_texts
from services.treenode.reports.plan.columns import Choice
from services.treenode.tree import Tree
from services.treenode.tree.columns.ids import MAX_ID_LENGTH, IdTable, find_row
from services.treenode.tree.kernels.addresses import column_at, places_of, table_at
from services.treenode.tree.kernels.kernel import (
    Int16s,
    Int32s,
    Int64s,
    UInt8s,
    UInt32s,
    Whole,
    inlined,
    kernel_with_gil,
)
from services.treenode.tree.store import NOBODY, Store

#: Different choices whose columns are kept.
CHOICES_MAX = 256


class MemberColumns(NamedTuple):
    """What the kernel reads: the tree's columns as they are, for as long as its store is not replaced."""

    ids: UInt8s
    words: UInt32s
    slots: Int32s
    kind: UInt8s
    status: Int16s
    #: uint8[statuses, 16], zero-padded.
    status_texts: UInt8s
    rank: Int16s
    joined_on: Int32s
    leg: Int32s
    #: Own volume of the slot that the choice names, by row; one of the two has length 0.
    narrow_personal: Int32s
    personal: Int64s
    #: Rows and seats of who stands above in the sponsor tree.
    sponsor: Int32s
    #: Seats above in the placement tree, and its ways between rows and seats.
    placement: Int32s
    placement_seat_of: Int32s
    placement_row_at: Int32s
    #: Of the tree that the choice walks; `seat_of` of length 0 where seats are rows.
    seat_of: Int32s
    level: Int32s
    members: Int32s
    group: Int64s
    #: The id asked for, (1, 8).
    asked: UInt32s
    out: UInt8s


@kernel_with_gil
def _encode_at(wanted: int, p: Int64s) -> Whole:
    """`_encode_member` of the columns whose places these are."""
    columns = MemberColumns(
        table_at(p[0], p[1], p[2], np.uint8),  # ids
        table_at(p[3], p[4], p[5], np.uint32),  # words
        column_at(p[6], p[7], np.int32),  # slots
        column_at(p[9], p[10], np.uint8),  # kind
        column_at(p[12], p[13], np.int16),  # status
        table_at(p[15], p[16], p[17], np.uint8),  # status_texts
        column_at(p[18], p[19], np.int16),  # rank
        column_at(p[21], p[22], np.int32),  # joined_on
        column_at(p[24], p[25], np.int32),  # leg
        column_at(p[27], p[28], np.int32),  # narrow_personal
        column_at(p[30], p[31], np.int64),  # personal
        column_at(p[33], p[34], np.int32),  # sponsor
        column_at(p[36], p[37], np.int32),  # placement
        column_at(p[39], p[40], np.int32),  # placement_seat_of
        column_at(p[42], p[43], np.int32),  # placement_row_at
        column_at(p[45], p[46], np.int32),  # seat_of
        column_at(p[48], p[49], np.int32),  # level
        column_at(p[51], p[52], np.int32),  # members
        column_at(p[54], p[55], np.int64),  # group
        table_at(p[57], p[58], p[59], np.uint32),  # asked
        column_at(p[60], p[61], np.uint8),  # out
    )
    return _encode_member(wanted, columns)


@inlined
def _encode_member(wanted: int, c: MemberColumns) -> Whole:
    """Writes the member with the id in asked[0] to `out`; bytes written, 0 where nobody has the id. `wanted`: bits of
    the fields to write, as in `wire`.
    """
    row = find_row(IdTable(c.words, c.slots), c.asked, 0)
    if row < 0 or c.kind[row] == NOBODY:
        return 0
    ids, out = c.ids, c.out
    seat = np.int64(c.seat_of[row]) if c.seat_of.shape[0] else row
    out[0] = wire.MEMBERS_TAG
    at = 2
    if wanted & wire.MEMBER_ID:
        at = wire.put_id(out, at, 0x0A, ids, row)
    if wanted & wire.SPONSOR_ID:
        at = wire.put_id(out, at, 0x12, ids, np.int64(c.sponsor[row]))
    if wanted & wire.PLACEMENT_ID:
        above = np.int64(c.placement[c.placement_seat_of[row]])
        at = wire.put_id(out, at, 0x1A, ids, np.int64(c.placement_row_at[above]) if above >= 0 else above)
    if wanted & wire.PLACEMENT_LEG:
        at = wire.put_number(out, at, 0x20, np.int64(c.leg[row]))
    if wanted & wire.KIND:
        at = wire.put_number(out, at, 0x28, np.int64(c.kind[row]))
    if wanted & wire.STATUS:
        at = wire.put_status(out, at, c.status_texts, c.status[row])
    if wanted & wire.RANK:
        at = wire.put_number(out, at, 0x38, np.int64(c.rank[row]))
    if wanted & wire.JOINED_ON:
        at = wire.put_day_unless_unknown(out, at, c.joined_on[row])
    if wanted & wire.LEVEL:
        at = wire.put_number(out, at, 0x48, np.int64(c.level[seat]))
    if wanted & wire.PV:
        amount = np.int64(c.narrow_personal[row]) if c.narrow_personal.shape[0] else c.personal[row]
        at = wire.put_number(out, at, 0x50, amount)
    if wanted & wire.GV:
        at = wire.put_number(out, at, 0x58, c.group[seat])
    if wanted & wire.DOWNLINE_COUNT:
        at = wire.put_number(out, at, 0x60, np.int64(c.members[seat]))
    return wire.close_message(out, 1, at)


@dataclass(frozen=True, slots=True)
class _Way:
    """What the kernel is told for one choice."""

    wanted: int
    places: Int64s
    #: Kept, since the kernel knows them by their addresses.
    columns: MemberColumns


class MemberEncoder:
    """Encodes members of the node's tree, one at a time. Used on the event loop, between two updates."""

    def __init__(self) -> None:
        self._out = np.empty(wire.PLAIN_ROW_BYTES_MAX, np.uint8)
        self._asked = np.empty((1, MAX_ID_LENGTH // 4), np.uint32)
        asked, out = cast(Any, self._asked.view(np.uint8)[0]), cast(Any, self._out)
        self._asked_bytes, self._out_bytes = memoryview(asked), memoryview(out)
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
        if choice is not self._choice or tree.store is not self._store:
            self._turn_to(tree, choice)
        if self._way is None:
            row = np.array([row_of_member(tree, member_id)], np.int32)
            return member_bytes(freeze(tree, choice, of_rows(tree, choice, row), ()), choice)
        self._asked_bytes[:] = checked_id(member_id, "member_id").encode("ascii").ljust(MAX_ID_LENGTH, b"\0")
        size = _encode_at(self._way.wanted, self._way.places)
        if size == 0:
            raise member_unknown(member_id, "member_id")
        return self._out_bytes[:size].tobytes()

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
        slot = tree.slot(choice.volume_type, choice.period)
        personal = store.personal[slot]
        columns = MemberColumns(
            ids=store.ids.words.view(np.uint8).reshape(len(store.ids.words), -1),
            words=store.ids.words,
            slots=store.ids.slots,
            kind=store.kind,
            status=store.status,
            status_texts=status_texts(tree.statuses.texts),
            rank=store.rank,
            joined_on=store.joined_on,
            leg=store.leg,
            narrow_personal=personal if personal.dtype == np.int32 else np.empty(0, np.int32),
            personal=personal if personal.dtype == np.int64 else np.empty(0, np.int64),
            sponsor=store.sponsor.parent,
            placement=store.placement.parent,
            placement_seat_of=store.placement.seat_of,
            placement_row_at=store.placement.row_at,
            seat_of=walked.seat_of,
            level=walked.level,
            members=walked.members,
            group=walked.group[slot],
            asked=self._asked,
            out=self._out,
        )
        return _Way(sum(WANTED[name] for name in choice.plain), places_of(columns), columns)
