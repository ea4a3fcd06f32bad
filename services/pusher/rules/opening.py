"""The records by which an import file's own volume types and periods take orders."""

from __future__ import annotations

from fasttree.v1 import types_pb2
from services.pusher.fanout.events import FileRules
from services.shared.domain.slots import brought_problem
from services.shared.domain.updates import OWN_ID_PREFIX
from services.shared.rules import Rules


def openings(rules: Rules, brought: FileRules) -> list[types_pb2.Update]:
    """One for each that the rules have not, in an order of its own; none for a period that is closed for good, and none
    at all where there is no room for them all: rules are not taken back."""
    if no_room(rules, brought):
        return []
    import_id = brought.import_id
    known = {*rules.periods, *rules.sealed_periods}
    types = [
        types_pb2.Update(
            update_id=f"{OWN_ID_PREFIX}import-{import_id}/type-{name}",
            volume_type_added=types_pb2.VolumeTypeAdded(volume_type=name),
        )
        for name in sorted(brought.volume_types)
        if name not in rules.volume_types
    ]
    periods = [
        types_pb2.Update(
            update_id=f"{OWN_ID_PREFIX}import-{import_id}/period-{period}",
            period_opened=types_pb2.PeriodOpened(period=period),
        )
        for period in sorted(brought.periods)
        if period not in known
    ]
    return types + periods


def no_room(rules: Rules, brought: FileRules) -> str | None:
    """Why none of what the file brought can take orders: the rules were others when a node took the file."""
    return brought_problem(
        rules.volume_types, rules.periods, rules.sealed_periods, brought.volume_types, brought.periods
    )
