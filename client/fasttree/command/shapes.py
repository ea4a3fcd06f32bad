"""What a command prints as JSON, by the types that it prints by: named beside it, once.

`docs/commands.json` and `docs/commands.md` are made from them (`tools/commands_page.py`), and the tests hold whatever a
command prints to them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

_ATTRIBUTE: Final = "printed_json"


class Printed(NamedTuple):
    """Of one command."""

    #: The types of the one document that it prints, of which each run prints one.
    documents: tuple[Any, ...]
    #: Those of documents that it prints line by line, any number of them.
    lines: tuple[Any, ...]


class Later:
    """A type in a module that only few commands need to load."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self.find = find


def prints(*documents: Any, lines: Any = ()) -> Callable[[Command], Command]:
    """Says what is printed with --json: types, or Later ones. Stands below `click.command`."""

    def told(command: Command) -> Command:
        each_line = lines if isinstance(lines, tuple) else (lines,)
        setattr(command, _ATTRIBUTE, Printed(documents, each_line))
        return command

    return told


def printed_by(command: click.Command) -> Printed | None:
    """None: it has no JSON."""
    return getattr(command.callback, _ATTRIBUTE, None)
