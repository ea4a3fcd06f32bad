"""The header line: which column is what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from fasttree.v1 import types_pb2
from services.shared.domain.columns import NAME_FORM, is_column_name, volume_column
from services.shared.domain.limits import COLUMN_NAME_LENGTH_MAX
from services.shared.domain.sentences import quoted
from services.treenode.imports.reading.limits import ImportLimits
from services.treenode.imports.reading.refusal import refuse_file


class Role(StrEnum):
    """What a column is to the tree."""

    MEMBER_ID = "member_id"
    SPONSOR_ID = "sponsor_id"
    PLACEMENT_ID = "placement_id"
    PLACEMENT_LEG = "placement_leg"
    KIND = "kind"
    STATUS = "status"
    RANK = "rank"
    JOINED_ON = "joined_on"
    VOLUME = "volume"
    FURTHER = "further"
    #: Read over: FastTree computes it.
    DERIVED = "derived"


_BY_NAME = {role.value: role for role in Role if role not in (Role.VOLUME, Role.FURTHER, Role.DERIVED)}
#: Whatever else reports tell of a member is computed: an exported report can be imported again without taking it out.
_DERIVED = {field.name.removesuffix("_hundredths") for field in types_pb2.Member.DESCRIPTOR.fields} - {
    *_BY_NAME,
    "pv",
    "volumes",
    "columns",
}


@dataclass(frozen=True)
class Column:
    #: As the header writes it, without spaces around it.
    name: str
    role: Role
    #: For role volume: type and period.
    volume: tuple[str, str] = ("", "")


def plan_columns(
    names: Sequence[str], volume_types: Sequence[str], periods: Sequence[str], limits: ImportLimits
) -> list[Column]:
    """Gives each named column its role.

    `volume_types` and `periods` are the cluster's, the default first. A column named like a type is that type in the
    first period; one named "type:YYYY-MM" opens what it names. Raises ImportRefusedError for a column that is missing,
    named twice, nameless or too many.
    """
    if len(names) > limits.columns:
        raise refuse_file(f"{len(names)} columns are more than {limits.columns}: leave some out", line=1)
    if len(names) == 1 and re.search(r"[;\t|]", names[0]):
        reason = f"the header {quoted(names[0])} has no comma: separate columns by commas"
        raise refuse_file(reason, line=1, column="member_id")
    columns = [_plan_column(name.strip(), place, volume_types, periods) for place, name in enumerate(names, start=1)]
    _check_required(columns, limits.required_columns)
    _check_once(columns)
    roles = {column.role for column in columns}
    if Role.PLACEMENT_LEG in roles and Role.PLACEMENT_ID not in roles:
        raise refuse_file(
            "there is no placement_id column beside it: add one, or leave this one out", line=1, column="placement_leg"
        )
    return columns


def _plan_column(name: str, place: int, volume_types: Sequence[str], periods: Sequence[str]) -> Column:
    if not name:
        raise refuse_file(f"column {place} has no name: give it one in the header", line=1)
    if not is_column_name(name):
        cut = name[:COLUMN_NAME_LENGTH_MAX]
        raise refuse_file(f"column {place} needs {NAME_FORM}", line=1, column=cut)
    lowered = name.lower()
    if lowered in _BY_NAME:
        return Column(name, _BY_NAME[lowered])
    if lowered in _DERIVED:
        return Column(name, Role.DERIVED)
    canonical = {volume_type.lower(): volume_type for volume_type in volume_types}
    if lowered in canonical:
        return Column(name, Role.VOLUME, (canonical[lowered], periods[0]))
    if opened := volume_column(name):
        volume_type, period = opened
        return Column(name, Role.VOLUME, (canonical.get(volume_type.lower(), volume_type.upper()), period))
    if lowered.partition(":")[0] in canonical:
        raise refuse_file("the period after the colon must be written as 2026-11", line=1, column=name)
    return Column(name, Role.FURTHER)


def _check_required(columns: Sequence[Column], required: Sequence[str]) -> None:
    present = {column.name.lower() for column in columns}
    if any(column.role is Role.VOLUME for column in columns):
        present.add("pv")
    for name in dict.fromkeys(("member_id", "sponsor_id", *required)):
        if name not in present:
            raise refuse_file(f"the column {name} is missing: add it to the header", line=1, column=name)


def _check_once(columns: Sequence[Column]) -> None:
    seen: dict[object, str] = {}
    for column in columns:
        key = column.volume if column.role is Role.VOLUME else column.name.lower()
        if key in seen:
            raise refuse_file(f"the header already has {seen[key]}: keep one of the two", line=1, column=column.name)
        seen[key] = column.name
