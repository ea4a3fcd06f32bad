"""What a tree is built from: the checked rows of an import file, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.shared.domain.columns import FurtherKind
from services.treenode.tree.columns.texts import Texts
from services.treenode.tree.kernels.kernel import AnyArray, Int16s, Int32s, Int64s, UInt8s


@dataclass(frozen=True)
class FurtherColumn:
    """A column of the import file that the tree keeps without a meaning of its own."""

    kind: FurtherKind
    #: (n,): text: int64 references into `texts`, 0 for the empty text, which is unknown; integer: int64; decimal: int64
    #: millionths; both NO_NUMBER where unknown; date: int32 days since 1970-01-01, NO_DAY where unknown.
    values: AnyArray
    #: For text only: their UTF-8, where the references say, as the segments of Texts (columns/texts.py).
    texts: Sequence[UInt8s] = ()

    @classmethod
    def of_texts(cls, texts: Sequence[str]) -> FurtherColumn:
        """A column of these texts."""
        made, references = Texts.of(texts)
        return cls("text", references, made.segments)


@dataclass(frozen=True)
class ImportTable:
    """Rows in file order. Ids are valid and unique, links lead to rows of the table, and neither tree has a cycle."""

    #: (n,) dtype S1 to S32.
    member_ids: AnyArray
    #: (n,) int32: row of the sponsor, or -1 for a root.
    sponsor: Int32s
    #: (n,) int32: row of the placement, or -1: a root of the placement tree where sponsor is -1 too, else in the
    #: holding tank.
    placement: Int32s
    #: (n,) int32: leg of the placement, from 1, no two alike below one member; 0 where the file has none.
    placement_leg: Int32s
    #: (n,) uint8: 1 distributor, 2 customer.
    kind: UInt8s
    #: (n,) int16: codes into status_names.
    status: Int16s
    #: Statuses by code.
    status_names: list[str]
    #: (n,) int16, from 0.
    rank: Int16s
    #: (n,) int32: days since 1970-01-01, or NO_DAY.
    joined_on: Int32s
    #: By (volume type, period): (n,) int64 personal volume in hundredths.
    volumes: dict[tuple[str, str], Int64s] = field(default_factory=dict)
    #: By name.
    further: dict[str, FurtherColumn] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.member_ids)
