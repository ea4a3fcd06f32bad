"""An option that would do nothing is refused by name: nobody should think that it does."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from fasttree.command.main import cli
from services.pusher.log.sqlite import SqliteLog
from tests.command.fasttree_command import FastTree
from tests.pusher.updates import ids_and_contents, orders


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--endpoints e.json logs --dir .", "--dir says where the logs are: leave out --endpoints"),
        ("--timeout 3 up", "it means nothing to `fasttree up`: leave out --timeout"),
        ("--timeout 3 --endpoints e.json config show", "`fasttree config show`: leave out --endpoints and --timeout"),
        ("--endpoints e.json log backup --folder . x", "`fasttree log backup`: leave out --endpoints"),
        ("held --limit 5 drop 7 --reason x", "--limit before `held drop` would do nothing"),
        ("held --member 7 --node n1 retry 7 --reason x", "--member and --node before `held retry` would do nothing"),
        ("frontline m1 --as-number", "--as-number goes with --sort"),
        ("drill --no-kill --kill-command x --yes", "--no-kill kills nothing: leave out --kill-command"),
        ("log verify --folder . --timeout 3", "--folder reads a disk, and asks nobody: leave out --timeout"),
        (
            "log verify --key-file x",
            "what is asked of it comes opened: leave out --key-file",
        ),
        ("--endpoints e.json log dump --folder .", "--folder reads a disk, and asks nobody: leave out --endpoints"),
    ],
)
async def test_it_is_refused(arguments: str, told: str, fasttree: FastTree) -> None:
    ran = await fasttree(*arguments.split())
    assert ran.code == 2, ran.err
    assert told in ran.err.splitlines()[-1]


async def test_what_a_command_reads_may_stand_before_its_name(fasttree: FastTree) -> None:
    for arguments in ("--json --timeout 5 status", "--json held", "held --json", "--timeout 5 held --limit 5"):
        ran = await fasttree(*arguments.split())
        assert ran.code == 0, (arguments, ran.err)
    assert (await fasttree("--timeout", "3", "config", "show", "--help")).code == 0


async def test_the_value_of_an_option_may_be_called_as_a_command_is(fasttree: FastTree, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("member_id\n1\n")
    ran = await fasttree("import", "own.csv", "--profile", "list")
    assert "there is no profile list" in ran.err
    assert (await fasttree("import", "--json", "list")).json == []


async def test_records_from_one_to_another_are_checked_on_the_disk_too(fasttree: FastTree, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    store = SqliteLog(folder).claim_alone()
    store.append(*ids_and_contents(orders(0, 20)))
    frame = store.read(15, 15, 1).data
    store.close()
    content = bytearray((folder / "log.db").read_bytes())
    content[content.rindex(frame) + len(frame) - 4] ^= 1
    (folder / "log.db").write_bytes(content)
    verify = ("log", "verify", "--folder", str(folder))
    whole = await fasttree(*verify)
    assert (whole.code, whole.out.count("position 15")) == (1, 1)
    before = await fasttree(*verify, "--from", "3", "--to", "14")
    assert (before.code, before.out) == (
        0,
        "12 records, positions 3 to 14: sound; the index of ids is looked at without --from and --to\n",
    )
    after = await fasttree(*verify, "--from", "15", "--json")
    assert (after.code, after.json["sound"], after.json["records"], after.json["first_position"]) == (1, False, 5, 15)
    for beyond in (("--from", "21"), ("--from", "9", "--to", "8")):
        nothing = await fasttree(*verify, *beyond)
        assert nothing.code == 1
        assert "no record from" in nothing.err


def _leaves(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        return [(path, command)]
    return [leaf for name, each in command.commands.items() for leaf in _leaves(each, (*path, name))]


@pytest.mark.parametrize(("path", "command"), [pytest.param(*leaf, id=" ".join(leaf[0])) for leaf in _leaves(cli)])
async def test_every_command_refuses_what_it_does_not_take(
    path: tuple[str, ...], command: click.Command, fasttree: FastTree
) -> None:
    known = {option for parameter in command.params for option in parameter.opts}
    unread = sorted({"--context", "--endpoints", "--namespace", "--timeout"} - known)
    for option in unread:
        ran = await fasttree(option, "3", *path)
        assert ran.code == 2
        assert f"it means nothing to `fasttree {' '.join(path)}`: leave out {option}" in ran.err
