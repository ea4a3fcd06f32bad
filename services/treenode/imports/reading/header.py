"""The header line: which column is what."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.shared.domain.columns import (
    NAME_FORM,
    NAME_TAKEN,
    OWN_NAMES,
    RESERVED_NAMES,
    RESERVED_TYPES,
    VOLUME_TYPE_TAKEN,
    FurtherKind,
    declared_column,
    is_column_name,
    volume_column,
)
from services.shared.domain.limits import COLUMN_NAME_LENGTH_MAX
from services.shared.domain.sentences import quoted
from services.shared.domain.slots import brought_problem
from services.shared.mapping.faults import RejectedRow
from services.treenode.imports.limits import ImportLimits
from services.treenode.imports.reading.refusal import ImportRefusedError, refuse_file, refuse_header


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
_DERIVED = RESERVED_NAMES - {*_BY_NAME, *OWN_NAMES, "pv"}


@dataclass(frozen=True)
class Column:
    #: As the header writes it, without spaces around it, and without the type that it declares.
    name: str
    role: Role
    #: For role volume: type and period.
    volume: tuple[str, str] = ("", "")
    #: For role further.
    kind: FurtherKind = "text"

    @property
    def is_text(self) -> bool:
        """A further column of texts."""
        return self.role is Role.FURTHER and self.kind == "text"


def plan_columns(
    names: Sequence[str],
    volume_types: Sequence[str],
    periods: Sequence[str],
    limits: ImportLimits,
    own_kinds: Mapping[str, FurtherKind] | None = None,
    declared: Mapping[str, FurtherKind] | None = None,
    sealed_periods: Collection[str] = (),
) -> list[Column]:
    """Gives each named column its role.

    `volume_types` and `periods` are the cluster's, the default first. A column named like a type is that type in the
    first period, "pv" the first type where none is called so; one named "type:YYYY-MM" opens what it names.
    `own_kinds`: what the file itself says of its columns, by name; a header's "name:type" goes before it, and a further
    column of which neither says anything is text. `declared`: what records of the log say of columns, by name; it goes
    before both, and a header that says otherwise is refused. `sealed_periods`: those of the cluster that are
    closed for good. Raises ImportRefusedError, with each of them, for columns that are missing, named twice, nameless,
    of no type or too many, and for more volume types and periods than there is room for.
    """
    if len(names) > limits.columns:
        raise refuse_file(f"{len(names)} columns are more than {limits.columns}: leave some out", line=1)
    if len(names) == 1 and re.search(r"[;\t|]", names[0]):
        mend = "separate columns by commas, or say what does (--separator)"
        reason = f"the header {quoted(names[0])} has no comma: {mend}"
        raise refuse_file(reason, line=1, column="member_id")
    own_kinds = own_kinds or {}
    by_rule = {name.lower(): (name, kind) for name, kind in (declared or {}).items()}
    columns: list[Column] = []
    problems: list[RejectedRow] = []
    for place, name in enumerate(names, start=1):
        try:
            columns.append(
                _plan_column(name.strip(), place, volume_types, periods, own_kinds.get(name, "text"), by_rule)
            )
        except ImportRefusedError as error:
            problems += error.refusal.rejected_rows
    problems += [*_missing(columns, limits.required_columns), *_twice(columns)]
    problems += _without_room(columns, volume_types, periods, sealed_periods)
    roles = {column.role for column in columns}
    if Role.PLACEMENT_LEG in roles and Role.PLACEMENT_ID not in roles:
        reason = "there is no placement_id column beside it: add one, or leave this one out"
        problems.append(RejectedRow(1, "placement_leg", reason))
    if problems:
        raise refuse_header(problems)
    return columns


def _plan_column(
    name: str,
    place: int,
    volume_types: Sequence[str],
    periods: Sequence[str],
    own_kind: FurtherKind,
    by_rule: Mapping[str, tuple[str, FurtherKind]],
) -> Column:
    if not name:
        raise refuse_file(f"column {place} has no name: give it one in the header", line=1)
    lowered = name.lower()
    if lowered in _BY_NAME:
        return Column(name, _BY_NAME[lowered])
    canonical = {volume_type.lower(): volume_type for volume_type in volume_types}
    if lowered in _DERIVED and lowered in canonical:  # of a log from before such types were refused
        reason = (
            f"volume type {canonical[lowered]}, or what FastTree works out? Write {name}:{periods[0]}, or leave it out"
        )
        raise refuse_file(reason, line=1, column=name)
    if lowered in _DERIVED:
        return Column(name, Role.DERIVED)
    if volume_types:
        canonical.setdefault("pv", volume_types[0])
    if lowered in canonical:
        return Column(name, Role.VOLUME, (canonical[lowered], periods[0]))
    if opened := volume_column(name):
        volume_type, period = opened
        if (lowered := volume_type.lower()) in RESERVED_TYPES and lowered not in canonical:
            raise refuse_file(VOLUME_TYPE_TAKEN.format(value=quoted(volume_type)), line=1, column=name)
        return Column(name, Role.VOLUME, (canonical.get(volume_type.lower(), volume_type.upper()), period))
    if lowered in by_rule:
        return Column(by_rule[lowered][0], Role.FURTHER, kind=by_rule[lowered][1])
    found, written = _further(name, place, canonical)
    if rule := by_rule.get(found.lower()):
        if written != rule[1]:
            reason = f"it is declared as {rule[1]} (`fasttree column list`), not {written}: write {rule[0]} alone"
            raise refuse_file(reason, line=1, column=found)
        return Column(rule[0], Role.FURTHER, kind=rule[1])
    return Column(found, Role.FURTHER, kind=written or own_kind)


def _further(header: str, place: int, volume_types: Mapping[str, str]) -> tuple[str, FurtherKind | None]:
    """Name and type that the header of a further column says. Raises ImportRefusedError."""
    cut = header[:COLUMN_NAME_LENGTH_MAX]
    try:
        name, kind = declared_column(header)
    except ValueError as error:
        if header.lower().partition(":")[0] in volume_types:
            reason = "the period after the colon must be written as 2026-11"
            raise refuse_file(reason, line=1, column=cut) from None
        raise refuse_file(str(error), line=1, column=cut) from None
    if not is_column_name(name):
        raise refuse_file(f"column {place} needs {NAME_FORM}", line=1, column=cut)
    if name.lower() in {*_BY_NAME, *_DERIVED, *OWN_NAMES, *volume_types}:
        raise refuse_file(NAME_TAKEN, line=1, column=cut)
    return name, kind


def _missing(columns: Sequence[Column], required: Sequence[str]) -> Iterator[RejectedRow]:
    present = {column.name.lower() for column in columns}
    if any(column.role is Role.VOLUME for column in columns):
        present.add("pv")
    for name in dict.fromkeys(("member_id", "sponsor_id", *required)):
        if name not in present:
            mend = f"add it to the header, or say what the file calls it (--map {name}=HEADER)"
            yield RejectedRow(1, name, f"the column {name} is missing: {mend}")


def _twice(columns: Sequence[Column]) -> Iterator[RejectedRow]:
    seen: dict[object, str] = {}
    for column in columns:
        key = column.volume if column.role is Role.VOLUME else column.name.lower()
        if key in seen:
            yield RejectedRow(1, column.name, f"the header already has {seen[key]}: keep one of the two")
        seen[key] = column.name


def _without_room(
    columns: Sequence[Column], volume_types: Sequence[str], periods: Sequence[str], sealed_periods: Collection[str]
) -> Iterator[RejectedRow]:
    """Told at the first column for which there is none, of all of them."""
    volumes = [column for column in columns if column.role is Role.VOLUME]

    def problem(count: int) -> str | None:
        brought = [column.volume for column in volumes[:count]]
        file_types, file_periods = [each[0] for each in brought], [each[1] for each in brought]
        return brought_problem(volume_types, periods, sealed_periods, file_types, file_periods)

    if reason := problem(len(volumes)):
        first = bisect_left(range(len(volumes)), True, key=lambda place: problem(place + 1) is not None)
        yield RejectedRow(1, volumes[first].name, reason)
