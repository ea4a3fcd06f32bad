"""What stands where the programs of 2016 stood: every line of the page's table is run, on a pusher and real nodes."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fasttree.client import Endpoints
from fasttree.v1 import types_pb2
from tests.command.fasttree_command import FastTree
from tests.docs.small_cluster import small_cluster
from tests.pusher.running_pusher import running_pusher

PAGE = Path(__file__).parents[3] / "docs/datatrax.md"
REFERENCE = ("FastTree Push Program", "dotbon1", "ccstree", "ccscdist", "ftxfer", "oe3387sb", "tcmdst")
HEADER = "member_id,sponsor_id,placement_id,placement_leg,kind,status,rank,joined_on,pv,cv:2026-11,shoes:integer"
MEMBERS = f"""{HEADER}
10001,,,,distributor,A,9,2020-01-31,10.00,1.00,42
10420,10001,10001,1,customer,C,2,,20.50,0.00,
"""


def table() -> dict[str, list[str]]:
    """The words behind `fasttree` of each program's line."""
    section = PAGE.read_text().partition("\n## The programs of 2016\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+?) \| [^|]+ \| `fasttree ([^`]+)`", section, re.MULTILINE)
    return {program: shlex.split(words) for program, words in rows}


def test_the_table_has_all_seven_of_the_reference() -> None:
    assert sorted(table()) == sorted(REFERENCE)


@pytest.mark.timeout(600)
async def test_every_line_of_the_table_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("datatrax", "cluster", "shell"):
        (tmp_path / place).mkdir()
    monkeypatch.chdir(tmp_path / "shell")
    Path("members.csv").write_text(MEMBERS)
    Path("changes.jsonl").write_text(
        '{"update_id": "p-1", "volume_posted": {"member_id": "10001", "amount": "1.00"}}\n'
    )
    lines = table()
    async with small_cluster(tmp_path / "cluster") as client:
        host, report, instant = (tmp_path / "cluster/hosts.50201").read_text().splitlines()[0].split()
        ends = Endpoints(pusher=client.endpoints.pusher, vip=f"{host}:{report}")
        fasttree = FastTree(tmp_path / "shell", ends)

        async def ran(program: str, *more: str) -> str:
            done = await fasttree(*lines[program], *more)
            assert done.code == 0, f"{program}: {done.err}"
            return done.out

        assert "served" in await ran("ftxfer", "--datatrax", str(tmp_path / "datatrax"))
        assert "1 new" in await ran("FastTree Push Program")
        for program in ("oe3387sb", "tcmdst", "ccscdist", "ccstree"):
            assert "applied" in await ran(program, "--ack", "all")
            again = await ran(program)
            assert "known already" in again, "the same id counts once"
        end = (await client.get_pusher()).log_end.position
        told = await ran("dotbon1", "--min-position", str(end))
        assert told.startswith(f"bonus.csv: 3 members, volumes of 2026-11, as of import 1, position {end}")
        with open("bonus.csv", newline="") as file:
            rows = {row["member_id"]: row for row in csv.DictReader(file)}
        assert rows["10420"]["pv:2026-11"] == "33.00"
        assert (rows["10420"]["cv:2026-11"], rows["10420"]["kind"], rows["10001"]["gv"]) == (
            "0.00",
            "customer",
            "44.00",
        )
        assert (rows["10421"]["sponsor_id"], rows["10421"]["status"], rows["10421"]["rank"]) == ("10001", "B", "3")
        assert rows["10001"]["shoes:integer"] == "42"
        assert Path("bonus.csv.done").read_text() == f"{end}\n"
        # What came out goes in again, and is the same tree.
        before = await client.get_digest(f"{host}:{instant}", end)
        back = ["datatrax", "transfer", "bonus.csv", "--as-of-position", str(end)]
        assert "served" in (await fasttree(*back, "--datatrax", str(tmp_path / "datatrax"))).out
        after = await client.get_digest(f"{host}:{instant}", end)
        assert (before.as_of.import_id, after.as_of.import_id) == (1, 2)
        assert after.digest == before.digest


@pytest.fixture
async def fasttree(tmp_path: Path) -> AsyncIterator[FastTree]:
    async with running_pusher(tmp_path) as pusher:
        address = f"127.0.0.1:{pusher.server.port}"
        yield FastTree(tmp_path / "shell", Endpoints(pusher=address, vip=address))


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["order", "o-1", "7", "12.345"], 1, "two decimals"),
        (["order", "o-1", "7", "many"], 1, "amount"),
        (["order", "o-1", " 7", "1"], 1, "member_id"),
        (["order", "x" * 65, "7", "1"], 1, "update_id must be 1 to 64"),
        (["order", "fasttree/1", "7", "1"], 1, "must not begin with fasttree/"),
        (["order", "o-1", "7", "1", "--period", "2026-13"], 1, "2026-13"),
        (["order", "o-1", "7", "1", "--volume-type", "XX"], 1, "there is no volume type"),
        (["order", "o-1", "7"], 2, "Missing argument"),
        (["enrol", "e-1", "7", "--rank", "99999"], 1, "rank"),
        (["enrol", "e-1", "7", "--rank", "x"], 1, "write a whole number"),
        (["enrol", "e-1", "7", "--joined-on", "31.01.2026"], 1, "joined_on"),
        (["enrol", "e-1", "7", "--column", "shoes"], 2, "write it as NAME=VALUE"),
        (["enrol", "e-1", "7", "--kind", "friend"], 2, "'friend' is not one of"),
        (["enrol", "e-1", "7", "--sponsor", "7"], 1, "sponsor_id is the member itself"),
        (["distributor-change", "c-1", "7"], 2, "Say what changes: --kind, --status"),
        (["distributor-change", "c-1", "7", "--status", "S" * 17], 1, "longer than 16 characters"),
        (["tree-change", "t-1", "7", "7"], 1, "is the member itself"),
        (["tree-change", "t-1", "7", "8", "--leg", "-1"], 1, "leg"),
        (["leave", "l-1", "7", "--mode", "leave_empty", "--volume", "leaves"], 1, "keeps its volume"),
        (["bonus-export", "/absent/bonus.csv"], 1, ""),
        (["bonus-export", "/dev/null"], 1, "/dev/null: it is no regular file, and is not written over: name a file"),
        (["bonus-export", "/dev/stdout"], 1, "/dev/stdout: it is no regular file"),
    ],
)
async def test_what_can_not_be_meant_is_one_line_with_the_mend(
    fasttree: FastTree, words: list[str], code: int, why: str
) -> None:
    ran = await fasttree("datatrax", *words)
    assert (ran.code, ran.out, why in ran.err, ran.err.count("\n")) == (code, "", True, 1), ran.err


async def test_a_change_says_its_position_and_a_return_is_negative(fasttree: FastTree) -> None:
    taken = await fasttree("datatrax", "order", "o-1", "7", "-12.50")
    assert (taken.code, taken.out) == (0, "o-1: position 2\n"), taken.err
    again = await fasttree("datatrax", "order", "o-1", "7", "-12.50", "--json")
    assert (again.json["position"], again.json["duplicate"]) == (2, True)
    other = await fasttree("datatrax", "order", "o-1", "7", "1")
    assert (other.code, "another change" in other.err or "other content" in other.err) == (1, True), other.err


def test_what_a_change_is_called_is_in_the_api() -> None:
    kinds = {field.name for field in types_pb2.Update.DESCRIPTOR.oneofs_by_name["change"].fields}
    assert {"volume_posted", "member_enrolled", "member_changed", "member_moved", "member_removed"} <= kinds
