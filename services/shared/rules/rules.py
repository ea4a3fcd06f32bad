"""The rules at one position, and as messages of the API.

- An order names its period and type, or means the current period and the first type: at its own position.
- A *period* is open, or late (closed, and until a day it takes what names it), or sealed: closed for good. It never
  comes back from that: reports of it are of what was kept, and what was given back in the tree is gone.
- One open period is current. It can't be closed: first another one becomes current.
- What a removal leaves open means what the rules say at its position; from before they were in the log, that the volume
  leaves.
- A type, once added, stays; so does a column, once declared, with its type. A text's may become personal later; that
  stays, too.
- Who is a customer, and that customers have no rank, is how reports take what is recorded: nothing recorded changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, NamedTuple, cast

from fasttree.v1 import types_pb2
from services.shared.domain.columns import FurtherKind
from services.shared.domain.sentences import quoted
from services.shared.domain.thresholds import FIRST_THRESHOLDS, ImportThresholds, with_given

#: The newest meaning of updates that this program knows. A release that changes what some update does, or that has a
#: new kind, adds one to it, and goes by `Rules.version`: the old meaning holds until a record raises that.
RULE_VERSION: Final = 3
#: From this version on there is a rule about customers.
CUSTOMERS_VERSION: Final = 2
#: From this version on columns may be personal, and members be erased.
PERSONAL_VERSION: Final = 3


@dataclass(frozen=True)
class LatePeriod:
    """A closed period that takes what names it to the end of a day, "YYYY-MM-DD" (UTC)."""

    period: str
    until: str


class DeclaredColumn(NamedTuple):
    """A column that members have, whatever file their tree is built from."""

    name: str
    kind: FurtherKind
    #: Its values are people's own: only who has the right sees them.
    personal: bool = False


@dataclass(frozen=True)
class Rules:
    """What is in force. Two that are equal give every update the same effect."""

    #: The default first; none twice, whatever their case.
    volume_types: tuple[str, ...] = ()
    #: In the order in which they were opened.
    open_periods: tuple[str, ...] = ()
    #: One of them; empty only where none is open.
    current_period: str = ""
    #: In the order in which they were closed.
    late_periods: tuple[LatePeriod, ...] = ()
    #: In the order in which they came to be.
    sealed_periods: tuple[str, ...] = ()
    #: In the order in which they were declared; none twice, nor one of a volume type's name, whatever the case.
    columns: tuple[DeclaredColumn, ...] = ()
    #: What an import is accepted by, whatever the settings of the node that decides.
    import_thresholds: ImportThresholds = FIRST_THRESHOLDS
    #: As it was set; see `volume_of_removed`.
    removal_volume: types_pb2.RemovalVolume.ValueType = types_pb2.REMOVAL_VOLUME_UNSPECIFIED
    #: Status codes whose members count as customers in reports, whatever kind is recorded of them.
    customer_statuses: tuple[str, ...] = ()
    #: Customers have rank 0 in reports, whatever is recorded of them.
    customers_are_rank_zero: bool = False
    #: 0: from before rules were in the log; then they are in no digest.
    version: int = 0

    @cached_property
    def periods(self) -> tuple[str, ...]:
        """Those that orders may go to: the current one, the other open ones, the late ones."""
        late = [each.period for each in self.late_periods]
        return tuple(dict.fromkeys(filter(None, (self.current_period, *self.open_periods, *late))))

    @cached_property
    def personal(self) -> frozenset[str]:
        """Names of the columns that are personal."""
        return frozenset(each.name for each in self.columns if each.personal)

    @property
    def volume_of_removed(self) -> types_pb2.RemovalVolume.ValueType:
        """What becomes of the volume of a member who leaves, where the removal doesn't say."""
        if not self.version:
            return types_pb2.REMOVAL_VOLUME_LEAVES
        return self.removal_volume or types_pb2.REMOVAL_VOLUME_ROLL_UP

    @cached_property
    def orders(self) -> Mapping[tuple[str, str], tuple[str, str]]:
        """Volume type and period as an order may name them (empty: the default) to those that it means."""
        if not self.volume_types or not self.periods:
            return {}
        types = {"": self.volume_types[0], **{each: each for each in self.volume_types}}
        periods = {each: each for each in self.periods}
        if self.current_period:
            periods[""] = self.current_period
        return {
            (type_name, period_name): (volume_type, period)
            for type_name, volume_type in types.items()
            for period_name, period in periods.items()
        }

    def order_problem(self, volume_type: str, period: str) -> str | None:
        """Why an order can't go there, with the mend; None where it can."""
        if (volume_type, period) in self.orders:
            return None
        if volume_type and volume_type not in self.volume_types:
            return f"there is no volume type {quoted(volume_type)}: {', '.join(self.volume_types)}"
        if not period:
            return "no period is current: open one, or name one that is open"
        what = "closed for good" if period in self.sealed_periods else "not open"
        return f"period {quoted(period)} is {what}: {', '.join(self.periods)}"


#: Of a tree that has heard of no log yet.
NO_RULES: Final = Rules()


def rules_of(volume_types: Sequence[str], periods: Sequence[str], version: int = RULE_VERSION) -> Rules:
    """Rules with these types, the default first, and these open periods, the current one first."""
    return Rules(tuple(volume_types), tuple(periods), periods[0] if periods else "", version=version)


def version_problem(version: int) -> str | None:
    """Why this build can't go by rules of a version, with the mend; None where it can."""
    if version <= RULE_VERSION:
        return None
    return f"updates have the meaning of version {version}, and this build knows {RULE_VERSION}: upgrade it"


def version_needed(what: str, version: int, rules: Rules) -> str | None:
    """Why there can't be such a thing under these rules yet, with the mend; None where there can."""
    if rules.version >= version:
        return None
    return (
        f"{what} needs version {version} of the rules, and {rules.version} is in force: `fasttree status` says which "
        "nodes are waited for"
    )


def founding(rules: Rules) -> Rules:
    """The same from before a log's first record of a rule."""
    return replace(rules, version=0)


def with_more(rules: Rules, volume_types: Iterable[str], periods: Iterable[str]) -> Rules:
    """The same with these types and open periods too, where they are not among them."""
    return replace(
        rules,
        volume_types=tuple(dict.fromkeys((*rules.volume_types, *volume_types))),
        open_periods=tuple(dict.fromkeys((*rules.open_periods, *periods))),
    )


def rules_message(rules: Rules) -> types_pb2.Rules:
    """The message; equal rules give equal bytes. What is as it is by default is left out: a build that has not heard of
    it makes the same bytes."""
    thresholds = rules.import_thresholds
    changed = thresholds != FIRST_THRESHOLDS
    return types_pb2.Rules(
        version=rules.version,
        volume_types=rules.volume_types,
        open_periods=rules.open_periods,
        current_period=rules.current_period,
        late_periods=[types_pb2.PeriodClosed(period=each.period, late_until=each.until) for each in rules.late_periods],
        sealed_periods=rules.sealed_periods,
        columns=[
            types_pb2.ColumnDeclared(name=each.name, type=each.kind, personal=each.personal) for each in rules.columns
        ],
        import_thresholds=types_pb2.ImportThresholdsSet(**thresholds._asdict()) if changed else None,
        removal_volume=rules.removal_volume,
        customer_statuses=rules.customer_statuses,
        customers_are_rank_zero=rules.customers_are_rank_zero,
    )


def rules_from(message: types_pb2.Rules) -> Rules:
    """The rules of a message."""
    return Rules(
        volume_types=tuple(message.volume_types),
        open_periods=tuple(message.open_periods),
        current_period=message.current_period,
        late_periods=tuple(LatePeriod(each.period, each.late_until) for each in message.late_periods),
        sealed_periods=tuple(message.sealed_periods),
        # Their form was looked at when they came in.
        columns=tuple(
            DeclaredColumn(each.name, cast("FurtherKind", each.type), each.personal) for each in message.columns
        ),
        import_thresholds=with_given(FIRST_THRESHOLDS, message.import_thresholds),
        removal_volume=message.removal_volume,
        customer_statuses=tuple(message.customer_statuses),
        customers_are_rank_zero=message.customers_are_rank_zero,
        version=message.version,
    )
