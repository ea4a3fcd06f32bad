"""What a node says of a request's fields, said of the options that people type."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import click

from fasttree.client.errors import CallError
from fasttree.v1 import report_pb2

#: Options by the field that they fill, of which a node may find something to say.
_OPTIONS: Mapping[str, str] = {
    "options.tree": "--tree",
    "options.volume_type": "--volume-type",
    "options.period": "--period",
    "options.columns": "--columns",
    "as_of_period": "--as-of-period",
    "min_position": "--min-position",
    "to_member_id": "--to",
    "update_id_prefix": "--update-id",
    "sort.as_number": "--as-number",
}
#: Those of a filter that are one option each.
_CONDITIONS: Mapping[str, str] = {
    "filter": "--min, --max, --is",
    "filter.ranges": "--min, --max, --is",
    "filter.kinds": "--is kind",
    "filter.joined_from": "--min joined_on",
    "filter.joined_to": "--max joined_on",
}
_RANGE_FIELD = re.compile(r"filter\.ranges\[(\d+)\]\.(\w+)")
_RANGE_OPTIONS: Mapping[str, str] = {"min": "--min", "max": "--max", "any_of": "--is"}
_SEVERAL = "use one of "


def told_of_options(error: CallError, _asked: object) -> str | None:
    """The error of a report's options, in their names; None where it is of something else."""
    if error.field == "sort.column":
        return _said(error, _sort_option())
    option = _OPTIONS.get(error.field)
    return None if option is None else _said(error, option)


def told_of_conditions(
    error: CallError, wanted: report_pb2.DownlineFilter, own_columns: Iterable[str] = ()
) -> str | None:
    """The same of conditions; of columns, all that conditions take are listed: `own_columns` have other fields in the
    API, which a node does not name there."""
    if option := _CONDITIONS.get(error.field):
        return _said(error, option)
    found = _RANGE_FIELD.fullmatch(error.field)
    if found is None or int(found[1]) >= len(wanted.ranges):
        return None
    asked = wanted.ranges[int(found[1])]
    if found[2] in _RANGE_OPTIONS:
        return _said(error, f"{_RANGE_OPTIONS[found[2]]} {asked.column}")
    option = next(option for name, option in _RANGE_OPTIONS.items() if getattr(asked, name))
    own = list(own_columns)
    meant = next((name for name in own if name.casefold() == asked.column.casefold()), "")
    hint = f'did you mean "{meant}"? ' if meant else ""
    return _said(error, option).replace(_SEVERAL, f"{hint}{_SEVERAL}{', '.join(own)}, ", 1)


def _said(error: CallError, option: str) -> str:
    message = error.message.replace("as_of_period (--as-of-period)", "--as-of-period")
    return message.replace(error.field, option, 1) if error.field in message else f"{option}: {message}"


def _sort_option() -> str:
    command = click.get_current_context().command
    return next(option for parameter in command.params for option in parameter.opts if option in ("--sort", "--by"))
