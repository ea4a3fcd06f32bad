"""What reports print as JSON."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from fasttree.client.forms.members import AsOfJson, MemberJson


class MembersJson(TypedDict):
    """Members of one answer; null: there was none."""

    as_of: AsOfJson | None
    members: list[MemberJson]


class CountedMembersJson(MembersJson):
    """Some of so many."""

    total_count: int


class FoundMembersJson(MembersJson):
    """Those of the ids that were asked for, and the ids that are nobody's."""

    unknown_member_ids: list[str]


class GroupJson(TypedDict):
    """So many members with so much volume of their own."""

    members: int
    pv: str


class LevelJson(GroupJson):
    """Of one level."""

    level: int


class StatusGroupJson(GroupJson):
    """Of one status."""

    status: str


class RankJson(GroupJson):
    """Of one rank."""

    rank: int


class KindJson(GroupJson):
    """Of one kind."""

    kind: str


class SummaryJson(TypedDict):
    """A downline, counted."""

    as_of: AsOfJson
    total: GroupJson
    by_level: NotRequired[list[LevelJson]]
    by_status: NotRequired[list[StatusGroupJson]]
    by_rank: NotRequired[list[RankJson]]
    by_kind: NotRequired[list[KindJson]]


class DescribedJson(TypedDict):
    """What the tree has; further columns by their names, with their types, and which of them are personal."""

    as_of: AsOfJson
    members: int
    roots: int
    holding_tank: int
    volume_types: list[str]
    periods: list[str]
    further_columns: dict[str, str]
    personal_columns: list[str]


class RejectedJson(TypedDict):
    """An update that could never be taken."""

    position: int
    update_id: str
    reason: str


class HeldJson(RejectedJson):
    """An update that waits for a member; `removed_position`: where that one was removed, if he was."""

    waits_for: str
    removed_position: int


class HeldListJson(TypedDict):
    """Some of so many that wait."""

    as_of: AsOfJson
    total_count: int
    updates: list[HeldJson]


class RejectedListJson(TypedDict):
    """Some of so many that were rejected."""

    as_of: AsOfJson
    total_count: int
    updates: list[RejectedJson]


class SettledJson(TypedDict):
    """The update of the log that settles held ones."""

    update_id: str
    position: int
