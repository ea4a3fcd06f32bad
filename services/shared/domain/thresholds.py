"""How much of the tree an import may change without being forced."""

from __future__ import annotations

from typing import Final, NamedTuple

from fasttree.v1 import types_pb2

MEMBERS_MIN_MAX: Final = 1_000_000_000


class ImportThresholds(NamedTuple):
    """Shares in percent of the members before."""

    #: Smaller trees are replaced whatever changes: a share of few members says nothing.
    members_min: int = 1_000
    #: Members that are not in the file.
    removed_percent_max: float = 5.0
    #: Members with another sponsor or placement.
    moved_percent_max: float = 5.0
    #: Members with other volumes; 100: never refused, since a new period changes every volume.
    volumes_changed_percent_max: float = 100.0


#: A new log's where nobody sets others.
FIRST_THRESHOLDS: Final = ImportThresholds()


def with_given(thresholds: ImportThresholds, change: types_pb2.ImportThresholdsSet) -> ImportThresholds:
    """The same with those that the change sets."""
    given = {field.name: value for field, value in change.ListFields()}
    return thresholds._replace(**given)


def thresholds_problem(thresholds: ImportThresholds) -> str | None:
    """What is wrong with thresholds; None where nothing is."""
    if not 0 <= thresholds.members_min <= MEMBERS_MIN_MAX:
        return f"members_min must be 0 to {MEMBERS_MIN_MAX:,}"
    for name, value in thresholds._asdict().items():
        # What is no number is in no range.
        if name != "members_min" and not 0 <= value <= 100:
            return f"{name} must be 0 to 100"
    return None
