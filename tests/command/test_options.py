"""What commands offer, and what their help says: no option that does nothing there, nothing that a terminal obeys."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from fasttree.client import UpdateFormatError
from fasttree.client.forms.csv_updates import CsvUpdates
from fasttree.command.local.free_ports import is_address
from fasttree.command.main import cli, main

#: Those that ask no cluster, and so have no use for one, nor for how long to wait for it.
ALONE = (
    ("up",),
    ("config", "show"),
    ("config", "check"),
    ("log", "backup"),
    ("log", "restore"),
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


def all_of(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    yield command, context
    for name, each in getattr(command, "commands", {}).items():
        yield from all_of(each, click.Context(each, context, name))


def test_no_help_has_a_character_that_is_no_text() -> None:
    """Such as the mark of a paragraph that keeps its lines, where that stands in the middle of one."""
    found = list(all_of(cli, click.Context(cli, info_name="fasttree")))
    assert len(found) > 40
    for command, context in found:
        text = command.get_help(context)
        assert text.replace("\n", "").isprintable(), f"{context.command_path}: {text!r}"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["downline", "--min", "gv"], "Try `fasttree downline --help`."),
        (["import", "some.csv", "--nosuch"], "Try `fasttree import --help`."),
        (["log", "dump", "--nosuch"], "Try `fasttree log dump --help`."),
        (["downline", "7", "--formt", "csv"], "'--format'? Try `fasttree downline --help`."),
    ],
)
def test_wrong_use_names_the_command_as_it_is_typed(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err.rstrip().endswith(told)


def test_an_address_of_another_machine_is_no_taken_port() -> None:
    assert is_address("127.0.0.1")
    assert not is_address("192.0.2.1")


def test_rows_that_something_else_separates_name_the_option() -> None:
    with pytest.raises(UpdateFormatError, match="if ; separates columns, add --separator ';'"):
        CsvUpdates("volume_posted", ",").update_of(b"update_id;member_id;amount\n")
