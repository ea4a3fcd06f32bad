"""The rows as trees: ids into rows, and every fault between rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.treenode.imports.reading import faults
from services.treenode.imports.reading.header import Role
from services.treenode.imports.reading.refusal import Lines
from services.treenode.imports.reading.structure.join import (
    Partitions,
    Repeats,
    deal_ids,
    join_ids,
    partition_count,
    repeats,
)
from services.treenode.imports.reading.structure.kernels import MASKED_LEGS, legs_are_free, mark_cycles
from services.treenode.tree.kernels.kernel import AnyArray, Int32s, Int64s

_SHOWN_OF_CYCLE = 6


@dataclass(frozen=True)
class WrongLink:
    """Rows that are wrong for what another row says."""

    #: Ascending.
    rows: Int64s
    #: Of the column.
    role: Role
    code: int
    #: The field of a row, for the reason.
    value: Callable[[int], bytes]
    #: What the reason says beyond it.
    detail: Callable[[int], object] = lambda row: ""


class Members:
    """The ids of a file and where to find them. Rows whose id could not be read are no members."""

    def __init__(self, ids: AnyArray, pool: Executor, threads: int) -> None:
        """`ids`: (rows,) of dtype S, its width a multiple of 4; empty where one could not be read."""
        self.ids = ids
        self._pool = pool
        self._threads = threads
        self._dealt: Partitions | None = None
        #: Whether a row has no id that could be read.
        self.incomplete = not bool(_named(ids).all())
        #: Rows whose id an earlier row has; known after find().
        self.duplicates = Repeats(np.empty(0, np.int64), np.empty(0, np.int64))

    def find(self, ids: AnyArray) -> Int32s:
        """The row of each id, (n,) int32; -1 for an unknown or empty one. `ids`: as in __init__."""
        width, partitions = max(self.ids.itemsize, ids.itemsize), partition_count(len(self.ids))
        asked = self._pool.submit(deal_ids, ids, partitions, width)
        if self._dealt is None or self._dealt.words.shape[1] * 4 != width:
            self._dealt = deal_ids(self.ids, partitions, width)
        found, self.duplicates = join_ids(self._dealt, asked.result(), len(ids), self._pool, self._threads)
        return found


def _named(ids: AnyArray) -> npt.NDArray[np.bool_]:
    """Whether each id, dtype S of a width that is a multiple of 4, is not empty."""
    named: npt.NDArray[np.bool_] = ids.view(np.uint32).reshape(len(ids), -1)[:, 0] != 0
    return named


def wrong_ids(members: Members, lines: Lines) -> Iterator[WrongLink]:
    """Ids that an earlier row has."""
    if len(members.duplicates.rows):
        yield WrongLink(
            members.duplicates.rows,
            Role.MEMBER_ID,
            faults.DUPLICATE_ID,
            lambda row: bytes(members.ids[row]),
            lambda row: lines.of(members.duplicates.first_of(row)),
        )


def wrong_links(members: Members, ids: AnyArray, parents: Int32s, role: Role) -> Iterator[WrongLink]:
    """Unknown members and cycles of one tree. `ids`: what the file names; `parents`: the rows found for it."""
    sponsors = role is Role.SPONSOR_ID
    lost = (parents < 0) & _named(ids)
    # A member whose own id can't be read is no reason to refuse those below it too.
    if not members.incomplete and lost.any():
        code = faults.SPONSOR_UNKNOWN if sponsors else faults.PLACEMENT_UNKNOWN
        yield WrongLink(np.flatnonzero(lost), role, code, lambda row: bytes(ids[row]))
    on_cycle = np.zeros(len(parents), np.uint8)
    if mark_cycles(parents, np.full(len(parents), -1, np.int32), on_cycle):
        code = faults.SPONSOR_CYCLE if sponsors else faults.PLACEMENT_CYCLE
        yield WrongLink(
            np.flatnonzero(on_cycle),
            role,
            code,
            lambda row: bytes(ids[row]),
            lambda row: _told_cycle(members.ids, parents, row),
        )


def _told_cycle(ids: AnyArray, parents: Int32s, row: int) -> str:
    """The way from a row up to itself, "A, B, A", cut where it is long."""
    way, above = [row], int(parents[row])
    while above != row and len(way) <= _SHOWN_OF_CYCLE:
        way.append(above)
        above = int(parents[above])
    names = [bytes(ids[each]).decode("ascii", "replace") for each in way[:_SHOWN_OF_CYCLE]]
    return " < ".join([*names, names[0]] if above == row else [*names, "…"])


def wrong_legs(placement: Int32s, named: AnyArray, legs: Int32s, lines: Lines) -> Iterator[WrongLink]:
    """Legs without a placement, and legs that an earlier row has. `named`: the placement ids of the file, dtype S."""
    alone = (legs > 0) & ~_named(named)
    if alone.any():
        yield WrongLink(
            np.flatnonzero(alone), Role.PLACEMENT_LEG, faults.LEG_WITHOUT_PLACEMENT, lambda row: str(legs[row]).encode()
        )
    high = np.flatnonzero((legs > MASKED_LEGS) & (placement >= 0))
    keys = (placement[high].astype(np.int64) << 32) | legs[high]
    if len(np.unique(keys)) == len(keys) and legs_are_free(placement, legs, np.zeros(len(legs), np.uint64)):
        return
    rows = np.flatnonzero((legs > 0) & (placement >= 0))
    keys = (placement[rows].astype(np.int64) << 32) | legs[rows]
    taken = repeats(keys, rows)
    yield WrongLink(
        taken.rows,
        Role.PLACEMENT_LEG,
        faults.LEG_TAKEN,
        lambda row: str(legs[row]).encode(),
        lambda row: lines.of(taken.first_of(row)),
    )
