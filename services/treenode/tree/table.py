"""A checked genealogy as columns: what an import file becomes before a tree is built from it.

The reader of import files makes it, `Tree.from_table` takes it. Every array has one entry a member, in file order
("row"); a member is named by its row everywhere. Nothing in it is a Python object per member.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

#: A day that is not known, in columns of days since 1970-01-01 (int32).
NO_DAY = -(2**31)
#: An empty cell of a further column of whole or decimal numbers (int64).
NO_NUMBER = -(2**63)
#: Kinds, as in the proto's MemberKind.
DISTRIBUTOR = 1
CUSTOMER = 2


class FurtherKind(StrEnum):
    """What a further column holds."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    DATE = "date"


@dataclass(frozen=True)
class FurtherColumn:
    """A column of the file that the tree has no meaning of its own for; empty cells are allowed in each.

    | kind | values | an empty cell |
    |---|---|---|
    | text | int32 codes: indices into `names` | the code of "" |
    | integer | int64 | NO_NUMBER |
    | decimal | int64: the number times 10 ** `places` | NO_NUMBER |
    | date | int32 days since 1970-01-01 | NO_DAY |
    """

    kind: FurtherKind
    values: npt.NDArray[np.int32] | npt.NDArray[np.int64]
    #: Distinct texts, for kind text; names[0] is always "".
    names: list[str] = field(default_factory=lambda: [""])
    #: Digits after the point, for kind decimal; else 0.
    places: int = 0


@dataclass(frozen=True)
class ImportTable:
    """All members of an import, checked: whoever makes one guarantees what stands on the fields.

    Volumes: the sum of the absolute values of each column fits int64, so no group volume can overflow.
    """

    #: dtype S8, S16, S24 or S32, zero-padded; 1 to 32 printable ASCII characters, no space at the ends; all different.
    member_ids: npt.NDArray[np.bytes_]
    #: Row of the sponsor, -1 for a root; no cycles.
    sponsor: npt.NDArray[np.int32]
    #: Row of the member above in the placement tree; -1 for its roots and for the holding tank; no cycles.
    placement: npt.NDArray[np.int32]
    #: From 1 where there is a placement, else 0; never the same twice below one member.
    placement_leg: npt.NDArray[np.int32]
    #: DISTRIBUTOR or CUSTOMER.
    kind: npt.NDArray[np.uint8]
    #: Index into status_names.
    status: npt.NDArray[np.int16]
    #: Different statuses, 0 to 16 printable ASCII characters each.
    status_names: list[str]
    #: 0 to 32767.
    rank: npt.NDArray[np.int16]
    #: Days since 1970-01-01, or NO_DAY.
    joined_on: npt.NDArray[np.int32]
    #: Personal volume in hundredths, by (volume type, period); those that the file has.
    volumes: Mapping[tuple[str, str], npt.NDArray[np.int64]]
    #: Further columns by their name in the header.
    further: Mapping[str, FurtherColumn]

    @property
    def member_count(self) -> int:
        """How many members there are."""
        return len(self.member_ids)
