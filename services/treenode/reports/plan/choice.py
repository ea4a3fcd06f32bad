"""Which columns, tree and volume a report's options mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from fasttree.v1 import report_pb2, types_pb2
from services.shared.domain.sentences import quoted
from services.shared.security.roles import PERSONAL_COLUMNS
from services.shared.serving.errors import InvalidArgumentError, PermissionDeniedError
from services.treenode.reports.columns import ALL, COLUMNS, DEFAULT_COLUMNS, VOLUMES, Column

#: Names of columns in a request: more than a file may have.
COLUMNS_MAX = 256


@dataclass(frozen=True)
class Catalogue:
    """What a tree has."""

    #: The default first.
    volume_types: tuple[str, ...]
    #: The current one first.
    periods: tuple[str, ...]
    #: Those of its import file.
    further: Mapping[str, Column]
    #: Those that every tree has.
    plain: Mapping[str, Column] = field(default_factory=lambda: COLUMNS)
    #: Names of those of the further ones that are personal.
    personal: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Choice:
    """What a report shows."""

    #: TREE_SPONSOR or TREE_PLACEMENT.
    tree: types_pb2.Tree.ValueType
    volume_type: str
    period: str
    #: In the order asked, each once; VOLUMES may be among them.
    columns: tuple[Column, ...]
    #: The member whose downline is all that the report may show; None: everybody's.
    leads: str | None = None

    @cached_property
    def plain(self) -> tuple[Column, ...]:
        """Those of one value, by the number of their field in Member."""
        plain = [column for column in self.columns if column.field is not None and column is not VOLUMES]
        return tuple(sorted(plain, key=lambda column: column.field.number if column.field else 0))

    @cached_property
    def further(self) -> tuple[Column, ...]:
        """Those of the import file."""
        return tuple(column for column in self.columns if column.field is None)

    @property
    def volumes(self) -> bool:
        """Every volume type and period is shown."""
        return VOLUMES in self.columns


def choose(options: report_pb2.ReportOptions, catalogue: Catalogue, *, sees_personal: bool = True) -> Choice:
    """What the options ask for. `sees_personal`: whoever asks has the right to personal columns.

    Raises:
        InvalidArgumentError: They name a tree, volume type, period or column that there is not.
        PermissionDeniedError: They name a column that is not for whoever asks.
    """
    if options.tree not in types_pb2.Tree.values():
        raise InvalidArgumentError(
            f"options.tree {options.tree} is not known: use TREE_SPONSOR or TREE_PLACEMENT",
            reason="TREE_UNKNOWN",
            field="options.tree",
            value=str(options.tree),
        )
    return Choice(
        tree=options.tree or types_pb2.TREE_SPONSOR,
        volume_type=_one_of(options.volume_type, catalogue.volume_types, "volume_type", "VOLUME_TYPE_UNKNOWN"),
        period=_one_of(options.period, catalogue.periods, "period", "PERIOD_UNKNOWN"),
        columns=_columns(options.columns, catalogue, frozenset() if sees_personal else catalogue.personal),
    )


def known_column(name: str, catalogue: Catalogue, field: str, allowed: Mapping[str, Column] | None = None) -> Column:
    """The column of that name among `allowed` (where not given: those that every tree has) or the further ones.

    Raises:
        InvalidArgumentError: There is none, or its values are kept apart from the tree; names the request's field.
    """
    if name in catalogue.personal:
        raise InvalidArgumentError(
            f"{field}: {quoted(name)} is a personal column, whose values are kept apart from the tree: a report can "
            "show it, and not go by it; name another one",
            reason="COLUMN_PERSONAL",
            field=field,
            value=name,
        )
    allowed = catalogue.plain if allowed is None else allowed
    column = allowed.get(name) or (None if name in catalogue.plain else catalogue.further.get(name))
    if column is None:
        known = (*allowed, *catalogue.further)
        meant = next((each for each in known if each.casefold() == name.casefold()), None)
        hint = "" if meant is None else f"did you mean {quoted(meant)}? "
        raise InvalidArgumentError(
            f"{field}: no column {quoted(name)} here: {hint}use one of {', '.join(known)}",
            reason="COLUMN_UNKNOWN",
            field=field,
            value=name,
        )
    return column


def _one_of(name: str, known: tuple[str, ...], field: str, reason: str) -> str:
    if not name:
        return known[0]
    if name not in known:
        closed = "; a month that is closed for good is named as_of_period (--as-of-period)" if field == "period" else ""
        raise InvalidArgumentError(
            f"options.{field} {quoted(name)} is not in this tree: use one of {', '.join(known)}{closed}",
            reason=reason,
            field=f"options.{field}",
            value=name,
        )
    return name


def _columns(names: Iterable[str], catalogue: Catalogue, hidden: frozenset[str]) -> tuple[Column, ...]:
    names = list(names)
    if len(names) > COLUMNS_MAX:
        raise InvalidArgumentError(
            f"options.columns has {len(names)}: send {COLUMNS_MAX} at most, or * for all",
            reason="TOO_MANY_COLUMNS",
            field="options.columns",
            value=str(len(names)),
        )
    shown = {**catalogue.plain, VOLUMES.name: VOLUMES}
    further = [column for name, column in catalogue.further.items() if name not in shown and name not in hidden]
    chosen: dict[Column, None] = {}
    for name in names:
        if name == ALL:
            chosen.update(dict.fromkeys((*shown.values(), *further)))
        elif name in hidden:
            raise PermissionDeniedError(
                f"options.columns: {quoted(name)} is a personal column, and no rule lets you see those: leave it out, "
                f"or ask for the right {PERSONAL_COLUMNS} (`fasttree policy test` says what a role may)",
                reason="COLUMN_PERSONAL",
                field="options.columns",
                value=name,
            )
        elif name in catalogue.personal and name not in shown:
            chosen[catalogue.further[name]] = None
        else:
            chosen[known_column(name, catalogue, "options.columns", shown)] = None
    return tuple(chosen) or DEFAULT_COLUMNS
