"""Members as rows of chosen columns, volumes as decimals with two places; what an answer is as of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, NotRequired, TypedDict

from google.protobuf.descriptor import EnumDescriptor

from fasttree.client.forms.amounts import from_hundredths
from fasttree.v1 import types_pb2

_FURTHER = types_pb2.Member.DESCRIPTOR.fields_by_name["columns"]
_VOLUMES = types_pb2.Member.DESCRIPTOR.fields_by_name["volumes"]
_HUNDREDTHS = "_hundredths"
#: Every column that each tree has, by name, as the field of Member that holds it; further ones come from its import.
KNOWN_COLUMNS = {
    field.name.removesuffix(_HUNDREDTHS): field
    for field in types_pb2.Member.DESCRIPTOR.fields
    if field not in (_FURTHER, _VOLUMES)
}

Member = types_pb2.Member
Values = Callable[[Sequence[Member]], list[Any]]


def _values(column: str) -> Values:
    """A column's values for many members at once: one pass a column is what makes a million rows quick."""
    if column == _VOLUMES.name:
        return lambda members: [_volumes(member) for member in members]
    field = KNOWN_COLUMNS.get(column)
    if field is None:
        return lambda members: [member.columns.get(column, "") for member in members]
    cell = attrgetter(field.name)
    if field.name.endswith(_HUNDREDTHS):
        return lambda members: [from_hundredths(value) for value in map(cell, members)]
    if field.enum_type is not None:
        names = enum_names(field.enum_type)
        return lambda members: [names.get(value, "") for value in map(cell, members)]
    return lambda members: list(map(cell, members))


def enum_names(enum: EnumDescriptor) -> dict[int, str]:
    """What people call the numbers of an enum: MEMBER_KIND_CUSTOMER is "customer", what is unspecified nothing."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {value.number: value.name.removeprefix(prefix).lower() for value in enum.values if value.number}


class VolumeJson(TypedDict):
    """A member's volume of one type in one period, as decimals with two places."""

    volume_type: str
    period: str
    personal: str
    group: str


#: A member's columns by their names, those that were asked for.
MemberJson = dict[str, str | int | list[VolumeJson]]


def _volumes(member: Member) -> list[VolumeJson]:
    return [
        {
            "volume_type": volume.volume_type,
            "period": volume.period,
            "personal": from_hundredths(volume.personal_hundredths),
            "group": from_hundredths(volume.group_hundredths),
        }
        for volume in member.volumes
    ]


def _volumes_texts(members: Sequence[Member]) -> list[str]:
    return [
        " ".join(f"{one['volume_type']}:{one['period']}={one['personal']}/{one['group']}" for one in _volumes(member))
        for member in members
    ]


class Rows:
    """Turns members into rows of some columns."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self._values = [_values(column) for column in columns]
        self._text_values = [_volumes_texts if column == _VOLUMES.name else _values(column) for column in columns]

    def texts(self, members: Sequence[Member]) -> Iterable[tuple[Any, ...]]:
        """A row for each member, for tables and CSV."""
        return zip(*(values(members) for values in self._text_values), strict=True)

    def json(self, members: Sequence[Member]) -> Iterable[dict[str, Any]]:
        """Column to value for each member; volumes are texts, so that no reader makes floats of them."""
        for row in zip(*(values(members) for values in self._values), strict=True):
            yield dict(zip(self.columns, row, strict=True))


class AsOfJson(TypedDict):
    """What an answer is as of."""

    import_id: int
    position: int
    epoch: int
    fresh_at: str | None
    node: str
    closed_period: NotRequired[str]


def as_of_json(as_of: types_pb2.AsOf) -> AsOfJson:
    """What an answer is as of, for programs."""
    content: AsOfJson = {
        "import_id": as_of.import_id,
        "position": as_of.position,
        "epoch": as_of.epoch,
        "fresh_at": as_of.fresh_at.ToJsonString() if as_of.HasField("fresh_at") else None,
        "node": as_of.node,
    }
    if as_of.closed_period:
        content["closed_period"] = as_of.closed_period
    return content
