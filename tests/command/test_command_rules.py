"""Rules changed by the command, with a real pusher: what is said, in words and JSON, and what is refused."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fasttree.client import Endpoints
from tests.command.fasttree_command import FastTree
from tests.pusher.running_pusher import running_pusher


@pytest.fixture
async def fasttree(tmp_path: Path) -> AsyncIterator[FastTree]:
    async with running_pusher(tmp_path) as pusher:
        address = f"127.0.0.1:{pusher.server.port}"
        yield FastTree(tmp_path / "shell", Endpoints(pusher=address, vip=address))


async def test_columns_are_declared_and_listed(fasttree: FastTree) -> None:
    declared = await fasttree("column", "declare", "shoe size", "decimal")
    assert (declared.code, declared.out) == (0, "position 2; columns: shoe size decimal\n"), declared.err
    more = await fasttree("column", "declare", "größe", "text", "--json")
    columns = [{"column": "shoe size", "type": "decimal"}, {"column": "größe", "type": "text"}]
    assert more.json == {"position": 3, "columns": columns}
    assert (await fasttree("column", "list", "--json")).json == columns
    assert "shoe size  decimal" in (await fasttree("column", "list")).out
    again = await fasttree("column", "declare", "Shoe Size", "text")
    assert (again.code, "column shoe size is declared already, as decimal" in again.err) == (1, True)
    assert (await fasttree("column", "declare", "x", "number")).code == 2
    assert "FastTree has this name for itself" in (await fasttree("column", "declare", "rank", "text")).err


async def test_rules_are_shown_and_set(fasttree: FastTree) -> None:
    shown = (await fasttree("rules", "show", "--json")).json
    assert (shown["rule_version"], shown["removal_volume"], shown["import_members_min"]) == (1, "roll-up", 1_000)
    changed = await fasttree("rules", "set", "--removal-volume", "leaves", "--import-removed-percent-max", "12.5")
    assert changed.code == 0, changed.err
    assert changed.out.startswith("position 3; removal-volume leaves; import-members-min 1000; ")
    assert "import-removed-percent-max 12.5" in changed.out
    shown = (await fasttree("rules", "show", "--json")).json
    assert (shown["removal_volume"], shown["import_removed_percent_max"]) == ("leaves", 12.5)
    assert shown["import_moved_percent_max"] == 5
    words = (await fasttree("rules", "show")).out
    assert "rules set --import-removed-percent-max" in words
    assert re.search(r"^closed periods +0 periods; `period list` names them +period close *$", words, re.MULTILINE)
    again = await fasttree("rules", "set", "--removal-volume", "leaves")
    assert (again.code, "REMOVAL_VOLUME_LEAVES already" in again.err) == (1, True)
    assert (await fasttree("rules", "set")).code == 2
    assert (await fasttree("rules", "set", "--import-moved-percent-max", "101")).code == 2


async def test_a_month_is_opened_and_closed(fasttree: FastTree) -> None:
    wrong = await fasttree("period", "open", "2026-13")
    assert wrong.err == 'error: period: "2026-13" is not a period: write it as 2026-11\n'
    opened = await fasttree("period", "open", "2199-01", "--json")
    assert [each["period"] for each in opened.json["periods"]][1:] == ["2199-01"]
    doubted = await fasttree("period", "close", "2199-01")
    assert (doubted.code, "2199-01 comes after the current period" in doubted.err) == (1, True)
    assert "give --yes where that is wanted" in doubted.err
    over = await fasttree("period", "close", "2199-01", "--late-until", "2026-01-31")
    assert (over.code, "2026-01-31 is over, by the pusher's clock it is 20" in over.err) == (1, True)
    assert over.err.endswith("; nothing was changed\n")
    periods = (await fasttree("period", "list", "--json")).json
    assert [each["state"] for each in periods] == ["current", "open"]
    current = await fasttree("period", "close", periods[0]["period"])
    assert "make another one current first; nothing was changed" in current.err
    closed = await fasttree("period", "close", "2199-01", "--yes")
    assert (closed.code, "2199-01" in closed.out) == (0, False)
    added = await fasttree("volume-type", "add", "CV")
    assert added.out.endswith("volume types: PV, CV\n")
