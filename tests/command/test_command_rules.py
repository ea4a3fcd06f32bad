"""Rules changed by the command, with a real pusher: what is said, in words and JSON, and what is refused."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fasttree.client import Endpoints
from fasttree.v1 import report_pb2
from services.shared.rules import RULE_VERSION
from tests.command.fasttree_command import FastTree
from tests.fakes.reports import FakeReports
from tests.pusher.imports.test_imports import upload
from tests.pusher.running_pusher import running_pusher, stub_of


@pytest.fixture
async def fasttree(tmp_path: Path) -> AsyncIterator[FastTree]:
    async with running_pusher(tmp_path) as pusher:
        address = f"127.0.0.1:{pusher.server.port}"
        yield FastTree(tmp_path / "shell", Endpoints(pusher=address, vip=address))


async def test_columns_are_declared_and_listed(fasttree: FastTree) -> None:
    declared = await fasttree("column", "declare", "shoe size", "decimal")
    assert (declared.code, declared.out) == (0, "position 2; columns: shoe size decimal\n"), declared.err
    more = await fasttree("column", "declare", "größe", "text", "--json")
    columns = [
        {"column": "shoe size", "type": "decimal", "personal": False},
        {"column": "größe", "type": "text", "personal": False},
    ]
    assert more.json == {"position": 3, "columns": columns, "in_clear": False}
    assert (await fasttree("column", "list", "--json")).json == columns
    assert "shoe size  decimal" in (await fasttree("column", "list")).out
    again = await fasttree("column", "declare", "Shoe Size", "text")
    assert (again.code, "column shoe size is declared already, as decimal" in again.err) == (1, True)
    assert (await fasttree("column", "declare", "x", "number")).code == 2
    assert "FastTree has this name for itself" in (await fasttree("column", "declare", "rank", "text")).err


async def test_a_column_of_texts_becomes_personal_and_stays_so(fasttree: FastTree) -> None:
    await fasttree("column", "declare", "phone", "text")
    marked = await fasttree("column", "declare", "phone", "text", "--personal")
    assert marked.code == 0, marked.err
    said, _, more = marked.out.partition("; what came in that column before is in clear")
    assert said == "position 3; columns: phone personal text"
    assert "in the log until its records are trimmed (pusher.retention_age_s)" in more
    again = await fasttree("column", "declare", "phone", "text")
    assert (again.code, "phone is declared already, as personal text: that stays" in again.err) == (1, True), again.err
    number = await fasttree("column", "declare", "tax", "integer", "--personal")
    assert (number.code, "only a column of type text can be personal" in number.err) == (1, True), number.err
    assert (await fasttree("column", "list", "--json")).json == [{"column": "phone", "type": "text", "personal": True}]


async def test_what_lies_in_clear_of_a_column_that_becomes_personal_is_told(tmp_path: Path) -> None:
    """By the rules before, or by the tree, where a file brought it; a column that is new has nothing."""
    reports = await FakeReports(1).start()
    reports.columns.append(report_pb2.ColumnDescription(name="Phone", type=report_pb2.COLUMN_TYPE_TEXT))
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        at = f"127.0.0.1:{pusher.server.port}"
        with_nodes = FastTree(tmp_path / "shell", Endpoints(pusher=at, vip=reports.address))
        without = FastTree(tmp_path / "alone", Endpoints(pusher=at))

        async def marked(fasttree: FastTree, name: str) -> bool | None:
            ran = await fasttree("column", "declare", name, "text", "--personal", "--json")
            assert ran.code == 0, ran.err
            in_clear: bool | None = ran.json["in_clear"]
            return in_clear

        assert await marked(with_nodes, "name") is False
        await upload(stub, b"member_id,phone\n1,2\n")
        assert await marked(with_nodes, "street") is False
        assert await marked(without, "mail") is None
        unknown = await without("column", "declare", "town", "text", "--personal")
        assert "; no node says whether the tree has that column from a file; if so: what came" in unknown.out
        assert await marked(with_nodes, "phone") is True
    await reports.stop()


async def test_rules_are_shown_and_set(fasttree: FastTree) -> None:
    shown = (await fasttree("rules", "show", "--json")).json
    assert (shown["rule_version"], shown["removal_volume"], shown["import_members_min"]) == (
        RULE_VERSION,
        "roll-up",
        1_000,
    )
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


async def test_customers_are_set_and_shown(fasttree: FastTree) -> None:
    shown = (await fasttree("rules", "show", "--json")).json
    assert (shown["customer_statuses"], shown["customers_rank_zero"]) == ([], False)
    changed = await fasttree("rules", "set", "--customer-statuses", "X,PC", "--json")
    assert (changed.code, changed.json["customer_statuses"]) == (0, ["X", "PC"]), changed.err
    more = await fasttree("rules", "set", "--customers-rank-zero", "yes")
    assert "customer-statuses X,PC; customers-rank-zero yes" in more.out
    assert re.search(
        r"^customer statuses +X,PC +rules set --customer-statuses *$", (await fasttree("rules", "show")).out, re.M
    )
    again = await fasttree("rules", "set", "--customers-rank-zero", "yes")
    assert (again.code, "the rule about customers is this already" in again.err) == (1, True)
    none = await fasttree("rules", "set", "--customer-statuses", "")
    assert "customer-statuses none; customers-rank-zero yes" in none.out
    for wrong, why in (("A,A", "one stands there twice"), ("S" * 17, "longer than 16 characters"), ("é", "ASCII")):
        refused = await fasttree("rules", "set", "--customer-statuses", wrong)
        assert (refused.code, why in refused.err, refused.err.count("\n")) == (1, True, 1), refused.err
    many = await fasttree("rules", "set", "--customer-statuses", ",".join(map(str, range(65))))
    assert "there are 65: 64 at most" in many.err


async def test_a_month_is_opened_and_closed(fasttree: FastTree) -> None:
    wrong = await fasttree("period", "open", "2026-13")
    assert wrong.err == 'error: period: "2026-13" is not a period: write it as 2026-11\n'
    far = await fasttree("period", "open", "2199-01")
    assert (far.code, "is more than a year from the current period" in far.err) == (1, True)
    assert "give --yes where that is wanted" in far.err
    opened = await fasttree("period", "open", "2199-01", "--yes", "--json")
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
