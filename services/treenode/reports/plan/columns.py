"""Which columns, tree and volume a report's options mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fasttree.v1 import report_pb2, types_pb2
from services.shared.serving.errors import InvalidArgumentError
from services.treenode.reports.copy.rows import PLAIN_DTYPES
from services.treenode.tree.table import FurtherKind

#: The columns of an answer that asks for none.
DEFAULT_COLUMNS = (
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
#: Every volume type and period.
VOLUMES = "volumes"
ALL = "*"


@dataclass(frozen=True)
class Catalogue:
    """What a tree has, beyond what every tree has."""

    #: The default first.
    volume_types: tuple[str, ...]
    #: The current one first.
    periods: tuple[str, ...]
    #: Further columns.
    further: Mapping[str, FurtherKind]


@dataclass(frozen=True)
class Choice:
    """What a report shows."""

    #: TREE_SPONSOR or TREE_PLACEMENT.
    tree: types_pb2.Tree.ValueType
    volume_type: str
    period: str
    #: In the order asked, each once: plain columns, VOLUMES, further columns.
    columns: tuple[str, ...]

    @property
    def plain(self) -> tuple[str, ...]:
        """Those that every tree has."""
        return tuple(name for name in self.columns if name in PLAIN_DTYPES)

    @property
    def further(self) -> tuple[str, ...]:
        """Those of the import file."""
        return tuple(name for name in self.columns if name not in PLAIN_DTYPES and name != VOLUMES)

    @property
    def volumes(self) -> bool:
        """Every volume type and period is shown."""
        return VOLUMES in self.columns


def choose(options: report_pb2.ReportOptions, catalogue: Catalogue) -> Choice:
    """What the options ask for.

    Raises:
        InvalidArgumentError: They name a tree, volume type, period or column that there is not.
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
        columns=_columns(options.columns, catalogue),
    )


def known_column(name: str, catalogue: Catalogue, field: str, allowed: Iterable[str] = PLAIN_DTYPES) -> str:
    """`name`, if it is a further column or one of `allowed`.

    Raises:
        InvalidArgumentError: It is not; names the request's field.
    """
    if name in allowed or (name in catalogue.further and name not in PLAIN_DTYPES):
        return name
    known = [*allowed, *catalogue.further]
    raise InvalidArgumentError(
        f'{field}: no column "{name}" here: use one of {", ".join(known)}',
        reason="COLUMN_UNKNOWN",
        field=field,
        value=name,
    )


def _one_of(name: str, known: tuple[str, ...], field: str, reason: str) -> str:
    if not name:
        return known[0]
    if name not in known:
        raise InvalidArgumentError(
            f'options.{field} "{name}" is not in this tree: use one of {", ".join(known)}',
            reason=reason,
            field=f"options.{field}",
            value=name,
        )
    return name


def _columns(names: Iterable[str], catalogue: Catalogue) -> tuple[str, ...]:
    chosen: dict[str, None] = {}
    for name in names:
        if name == ALL:
            every = (*PLAIN_DTYPES, VOLUMES, *(name for name in catalogue.further if name not in PLAIN_DTYPES))
            chosen.update(dict.fromkeys(every))
        else:
            chosen[known_column(name, catalogue, "options.columns", (*PLAIN_DTYPES, VOLUMES))] = None
    return tuple(chosen) or DEFAULT_COLUMNS
