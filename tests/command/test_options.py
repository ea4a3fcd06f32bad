"""No command offers an option that does nothing there."""

from __future__ import annotations

import click
import pytest

from fasttree.command.main import cli

#: Those that ask no cluster, and so have no use for one, nor for how long to wait for it.
ALONE = (
    ("up",),
    ("config", "show"),
    ("config", "check"),
    ("log", "backup"),
    ("log", "restore"),
    ("logs",),
    ("completion",),
)


@pytest.mark.parametrize("words", ALONE, ids=" ".join)
def test_what_asks_no_cluster_takes_none(words: tuple[str, ...]) -> None:
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    options = {option for parameter in command.params for option in parameter.opts}
    assert not options & {"--endpoints", "--timeout"}
