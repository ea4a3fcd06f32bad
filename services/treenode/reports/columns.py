"""The columns of a member: one entry for each, and no other place in the reports that lists them.

What reports do with a column follows from its entry: how a request names it, from where in the tree and in which of two
goes it is copied, how its cells stand on the wire and in an Arrow stream, what rows are sorted by. A new column is a
field of `Member` in the proto and an entry here; a test holds the two to each other, and sends a column that only the
test knows through everything that takes columns. A further column (of the import file) gets an entry of the same kind
for each tree that has it: `further_column`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import cached_property
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from google.protobuf.descriptor import FieldDescriptor

from fasttree.v1 import types_pb2
from services.shared.domain.columns import FurtherKind
from services.shared.domain.limits import DECIMAL_SCALE
from services.treenode.tree import Tree
from services.treenode.tree.columns.texts import Texts
from services.treenode.tree.kernels.kernel import AnyArray
from services.treenode.tree.kernels.links import Genealogy

#: What the names of fields have that hold hundredths, and the names of their columns don't.
HUNDREDTHS_SUFFIX = "_hundredths"
DECIMAL_DIGITS = 19

#: The tree's own values of a column, by tree, genealogy that the report walks, and slot that pv and gv mean.
Values: TypeAlias = Callable[[Tree, Genealogy, int], AnyArray]


class Kind(Enum):
    """What a cell holds, and so how it is compared and written. The further kinds have the tree's own names."""

    #: A row among copied ids; -1: none.
    ID = "id"
    #: A number of the proto's enum.
    ENUM = "enum"
    #: A code of a short text.
    CODE = "code"
    #: A reference to a text.
    TEXT = "text"
    #: Days since 1970-01-01; NO_DAY: unknown.
    DATE = "date"
    NUMBER = "number"
    #: A volume.
    HUNDREDTHS = "hundredths"
    #: A whole number; NO_NUMBER: unknown.
    INTEGER = "integer"
    #: Millionths; NO_NUMBER: unknown.
    DECIMAL = "decimal"
    #: Not one value but the volumes of each type and period.
    VOLUMES = "volumes"


class Where(IntEnum):
    """Where a member's value stands. Kernels know these numbers."""

    #: It is the member's own row.
    MEMBER = 0
    #: The row of whoever stands above in the sponsor tree, or in the placement tree.
    SPONSOR = 1
    PLACEMENT = 2
    #: By seat of the tree that the report walks, counted from where the report starts.
    LEVEL = 3
    #: By row.
    ROW = 4
    #: By seat of the tree that the report walks.
    SEAT = 5


_ARROW_TYPES = {
    Kind.ID: pa.string(),
    Kind.ENUM: pa.dictionary(pa.int32(), pa.string()),
    Kind.CODE: pa.dictionary(pa.int32(), pa.string()),
    Kind.TEXT: pa.string(),
    Kind.DATE: pa.date32(),
    Kind.NUMBER: pa.int64(),
    Kind.HUNDREDTHS: pa.int64(),
    Kind.INTEGER: pa.int64(),
    Kind.DECIMAL: pa.decimal128(DECIMAL_DIGITS, DECIMAL_SCALE),
}


@dataclass(frozen=True, eq=False)
class Column:
    """One column. Two are the same only where they are one object."""

    #: As requests name it.
    name: str
    kind: Kind
    where: Where
    #: Of a copied value.
    dtype: type[np.generic]
    #: In a stream; of the values as they are copied, but that whole numbers may be wider.
    arrow: pa.DataType
    #: The field of Member; None for a further column, which is an entry of Member.columns.
    field: FieldDescriptor | None
    #: By row or by seat, as `where` says; None where links are the values.
    values: Values | None = None
    #: What each code stands for.
    names: Callable[[Tree], Sequence[str]] | None = None
    #: What references lead into.
    texts: Callable[[Tree], Texts] | None = None

    @cached_property
    def is_link(self) -> bool:
        """It changes only when links do."""
        return self.where <= Where.LEVEL

    @cached_property
    def is_by_seat(self) -> bool:
        """Its values go by seat of the tree that the report walks."""
        return self.where in (Where.LEVEL, Where.SEAT)


def plain_column(
    name: str,
    kind: Kind,
    where: Where,
    dtype: type[np.generic] = np.int32,
    values: Values | None = None,
    *,
    arrow: pa.DataType | None = None,
    names: Callable[[Tree], Sequence[str]] | None = None,
    member: type[types_pb2.Member] = types_pb2.Member,
) -> Column:
    """A column that every tree has.

    Raises:
        KeyError: Member has no such field.
    """
    field = member.DESCRIPTOR.fields_by_name[name + HUNDREDTHS_SUFFIX if kind is Kind.HUNDREDTHS else name]
    return Column(name, kind, where, dtype, arrow or _ARROW_TYPES[kind], field, values, names)


def further_column(name: str, kind: FurtherKind, dtype: type[np.generic]) -> Column:
    """A column of the import file."""

    def values(tree: Tree, walked: Genealogy, slot: int) -> AnyArray:
        return tree.further[name].values

    def texts(tree: Tree) -> Texts:
        return tree.further[name].texts

    of_texts = texts if kind == "text" else None
    return Column(name, Kind(kind), Where.ROW, dtype, _ARROW_TYPES[Kind(kind)], None, values, texts=of_texts)


def enum_texts(field: FieldDescriptor) -> tuple[str, ...]:
    """What the numbers of an enum are called: "customer" for MEMBER_KIND_CUSTOMER, "" for the one that says nothing."""
    if field.enum_type is None:
        raise ValueError(f"{field.name} is no enum")
    names = [value.name for value in field.enum_type.values]
    prefix = names[0].removesuffix("UNSPECIFIED")
    return ("", *(name.removeprefix(prefix).lower() for name in names[1:]))


#: In the order of Member's fields.
_EVERY = (
    plain_column("member_id", Kind.ID, Where.MEMBER),
    plain_column("sponsor_id", Kind.ID, Where.SPONSOR),
    plain_column("placement_id", Kind.ID, Where.PLACEMENT),
    plain_column("placement_leg", Kind.NUMBER, Where.ROW, np.int32, lambda tree, *_: tree.store.leg, arrow=pa.int32()),
    plain_column("kind", Kind.ENUM, Where.ROW, np.uint8, lambda tree, *_: tree.shown.kind),
    plain_column(
        "status",
        Kind.CODE,
        Where.ROW,
        np.int16,
        lambda tree, *_: tree.store.status,
        names=lambda tree: tree.statuses.texts,
    ),
    plain_column("rank", Kind.NUMBER, Where.ROW, np.int16, lambda tree, *_: tree.shown.rank, arrow=pa.int16()),
    plain_column("joined_on", Kind.DATE, Where.ROW, np.int32, lambda tree, *_: tree.store.joined_on),
    plain_column("level", Kind.NUMBER, Where.LEVEL, np.int32, lambda _, walked, __: walked.level, arrow=pa.int32()),
    plain_column("pv", Kind.HUNDREDTHS, Where.ROW, np.int64, lambda tree, _, slot: tree.store.personal[slot]),
    plain_column("gv", Kind.HUNDREDTHS, Where.SEAT, np.int64, lambda _, walked, slot: walked.group[slot]),
    plain_column("downline_count", Kind.NUMBER, Where.SEAT, np.int32, lambda _, walked, __: walked.members),
)
COLUMNS: Mapping[str, Column] = {column.name: column for column in _EVERY}

MEMBER_ID, KIND, LEVEL = COLUMNS["member_id"], COLUMNS["kind"], COLUMNS["level"]
#: What the numbers of `kind` are called.
KIND_TEXTS = enum_texts(types_pb2.Member.DESCRIPTOR.fields_by_name["kind"])
#: The columns of an answer that asks for none, in this order.
DEFAULT_COLUMNS = tuple(
    COLUMNS[name]
    for name in (
        "member_id",
        "sponsor_id",
        "level",
        "kind",
        "status",
        "rank",
        "joined_on",
        "pv",
        "gv",
        "downline_count",
    )
)
#: Those that ColumnRange takes, beside further columns.
RANGE_COLUMNS: Mapping[str, Column] = {name: COLUMNS[name] for name in ("pv", "gv", "downline_count")}
#: Every volume type and period.
VOLUMES = Column(
    "volumes",
    Kind.VOLUMES,
    Where.ROW,
    np.int64,
    pa.int64(),
    types_pb2.Member.DESCRIPTOR.fields_by_name["volumes"],
)
#: What asks for all columns.
ALL = "*"
