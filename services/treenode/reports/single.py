"""One member on the wire, by the shortest way: most calls ask for one.

One kernel finds the id and writes the member from the tree's own columns, in less time than Python takes for two of
its fields.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.treenode.reports import wire
from services.treenode.reports.columns import Choice
from services.treenode.reports.encoding import WANTED, member_bytes, status_texts
from services.treenode.reports.reading import checked_id, freeze, genealogy, member_unknown, of_rows, row_of_member
from services.treenode.reports.scalars import Whole
from services.treenode.tree import Tree
from services.treenode.tree.ids import IdTable, find_row, packed_id
from services.treenode.tree.kernel import AnyArray, Int16s, Int32s, Int64s, UInt8s, UInt32s, kernel_with_gil
from services.treenode.tree.store import NOBODY, Store

#: Different choices whose columns are kept.
CHOICES_MAX = 256


class MemberColumns(NamedTuple):
    """What the kernel reads: the tree's columns as they are, for as long as its store is not replaced."""

    #: Bits of the fields to write, as in `wire`.
    wanted: int
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
    #: Own volume of the slot that the choice names, by row.
    personal: AnyArray
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


@kernel_with_gil
def _encode_member(c: MemberColumns, asked: UInt32s, out: UInt8s) -> Whole:
    """Writes the member with the id in asked[0] to `out`; bytes written, 0 where nobody has the id."""
    row = find_row(IdTable(c.words, c.slots), asked, 0)
    if row < 0 or c.kind[row] == NOBODY:
        return 0
    wanted, ids = c.wanted, c.ids
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
        at = wire.put_number(out, at, 0x50, np.int64(c.personal[row]))
    if wanted & wire.GV:
        at = wire.put_number(out, at, 0x58, c.group[seat])
    if wanted & wire.DOWNLINE_COUNT:
        at = wire.put_number(out, at, 0x60, np.int64(c.members[seat]))
    return wire.close_message(out, 1, at)


class MemberEncoder:
    """Encodes members of the node's tree, one at a time. Used on the event loop, between two updates."""

    def __init__(self) -> None:
        self._out = np.empty(wire.PLAIN_ROW_BYTES_MAX, np.uint8)
        #: What `_columns` are of, and those of other choices from the same store.
        self._store: Store | None = None
        self._choice: Choice | None = None
        self._columns: MemberColumns | None = None
        self._by_choice: dict[Choice, MemberColumns | None] = {}

    def encode(self, tree: Tree, choice: Choice, member_id: str) -> bytes:
        """The member as field 2 of an answer; its level counts from the root.

        Raises:
            InvalidArgumentError: It is no id.
            NotFoundError: Nobody has it, or the member has left.
        """
        if choice is not self._choice or tree.store is not self._store:
            self._turn_to(tree, choice)
        if self._columns is None:
            row = np.array([row_of_member(tree, member_id)], np.int32)
            return member_bytes(freeze(tree, choice, of_rows(tree, choice, row), ()), choice)
        size = _encode_member(self._columns, packed_id(checked_id(member_id, "member_id")), self._out)
        if size == 0:
            raise member_unknown(member_id, "member_id")
        return self._out[:size].tobytes()

    def _turn_to(self, tree: Tree, choice: Choice) -> None:
        if tree.store is not self._store or len(self._by_choice) >= CHOICES_MAX:
            self._by_choice.clear()
        self._store, self._choice = tree.store, choice
        if choice not in self._by_choice:
            self._by_choice[choice] = None if choice.volumes or choice.further else _columns_of(tree, choice)
        self._columns = self._by_choice[choice]


def _columns_of(tree: Tree, choice: Choice) -> MemberColumns:
    store, walked = tree.store, genealogy(tree, choice)
    slot = tree.slot(choice.volume_type, choice.period)
    return MemberColumns(
        wanted=sum(WANTED[name] for name in choice.plain),
        ids=store.ids.words.view(np.uint8).reshape(len(store.ids.words), -1),
        words=store.ids.words,
        slots=store.ids.slots,
        kind=store.kind,
        status=store.status,
        status_texts=status_texts(tree.statuses.texts),
        rank=store.rank,
        joined_on=store.joined_on,
        leg=store.leg,
        personal=store.personal[slot],
        sponsor=store.sponsor.parent,
        placement=store.placement.parent,
        placement_seat_of=store.placement.seat_of,
        placement_row_at=store.placement.row_at,
        seat_of=walked.seat_of,
        level=walked.level,
        members=walked.members,
        group=walked.group[slot],
    )
