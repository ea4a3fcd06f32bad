"""What reports of every kind are asked with: of which tree and volume, of which moment, and which node."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from fasttree.client import Client, Reports
from fasttree.client.errors import CallError
from fasttree.command.ranges import POSITION_OR_NONE
from fasttree.command.reports.field_names import told_of_options
from fasttree.command.session import CommandError
from fasttree.v1 import report_pb2, types_pb2

Command = TypeVar("Command", bound=Callable[..., Any])

_TREES = {"sponsor": types_pb2.TREE_SPONSOR, "placement": types_pb2.TREE_PLACEMENT}


class Asked:
    """The options that reports share, as the command line gave them."""

    def __init__(
        self,
        *,
        tree: str = "sponsor",
        volume_type: str = "",
        period: str = "",
        as_of_period: str,
        min_position: int,
        node: str = "",
    ) -> None:
        self._tree = tree
        self._volume_type = volume_type
        self._period = period
        self.as_of_period = as_of_period
        self._min_position = min_position
        self._node = node

    def options(self, columns: Sequence[str] = ()) -> report_pb2.ReportOptions:
        """As the API takes them."""
        return report_pb2.ReportOptions(
            min_position=self._min_position,
            tree=_TREES[self._tree],
            volume_type=self._volume_type,
            period=self._period,
            as_of_period=self.as_of_period,
            columns=columns,
        )

    def reports(self, client: Client) -> Reports:
        """The VIP, or the node that was named."""
        return client.reports_at(self._node) if self._node else client.reports

    @property
    def min_position(self) -> int:
        return self._min_position


#: What a report is of.
_OF = [
    click.option("--tree", type=click.Choice(list(_TREES)), default="sponsor", help="Which tree to walk."),
    click.option("--volume-type", default="", help="Type of pv and gv; the cluster's first where not given."),
    click.option("--period", default="", help='Period of pv and gv, "YYYY-MM"; the current one where not given.'),
]
#: Of which moment.
_AT = [
    click.option(
        "--as-of-period",
        default="",
        metavar="YYYY-MM",
        help="The tree, ranks and volumes as they were when this period was closed for good.",
    ),
    click.option("--min-position", type=POSITION_OR_NONE, default=0, help="Wait until this position is applied."),
]
#: Who is asked, and of which moment.
_FROM = [*_AT, click.option("--node", default="", help="Ask this node instead of the VIP.")]


def report_options(command: Command) -> Command:
    """Adds what every report about members takes; the command gets it as `asked`."""
    return gathered(command, [*_OF, *_FROM], "asked", Asked, told_of_options)


def audience_options(command: Command) -> Command:
    """The same of what is sent to a downline, which no node is named for."""
    return gathered(command, [*_OF, *_AT], "asked", Asked, told_of_options)


def answer_options(command: Command) -> Command:
    """The same of a report that is neither of a tree nor of a volume."""
    return gathered(command, _FROM, "asked", Asked, told_of_options)


def gathered(
    command: Command,
    options: Sequence[Callable[[Any], Any]],
    name: str,
    make: Callable[..., Any],
    told: Callable[[CallError, Any], str | None],
) -> Command:
    """Adds options; the command gets what `make` makes of them as its argument `name`. An error of a call is told as
    `told` tells it of them, where it does."""
    taken = inspect.signature(make).parameters

    def taking(*args: Any, **given: Any) -> Any:
        own = {key: given.pop(key) for key in taken if key in given}
        made = make(**own)
        try:
            return command(*args, **{name: made}, **given)
        except CallError as error:
            if said := told(error, made):
                raise CommandError(said) from error
            raise

    taking.__name__ = command.__name__
    taking.__doc__ = command.__doc__
    taking.__click_params__ = list(getattr(command, "__click_params__", []))  # type: ignore[attr-defined]
    for option in reversed(options):
        option(taking)
    return taking  # type: ignore[return-value]
