"""`fasttree import --check`: everything that is wrong with a file, and nothing uploaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from fasttree.v1 import pusher_pb2
from tests.command.fasttree_command import FastTree
from tests.fakes.cluster import FakeCluster
from tests.treenode.imports.reading.bad_file import GOOD, csv_file


async def test_a_good_file(cluster: FakeCluster, fasttree: FastTree, tmp_path: Path) -> None:
    (tmp_path / "own members.csv").write_bytes(csv_file(*GOOD))
    ran = await fasttree("import", "--check", "own members.csv")
    assert (ran.code, ran.out.splitlines()[0]) == (0, "own members.csv: 6 rows, all good")
    assert cluster.pusher.files == {}


async def test_all_faults_at_once_by_kind(cluster: FakeCluster, fasttree: FastTree, tmp_path: Path) -> None:
    rows = [*GOOD, *(f"{n},100,A,x,,1" for n in range(200, 212)), "300,100,A,1,30.11.2026,1"]
    (tmp_path / "own.csv").write_bytes(csv_file(*rows))
    ran = await fasttree("import", "own.csv", "--check", "--refused", "refused.csv")
    assert ran.code == 1
    assert ran.out.splitlines()[:6] == [
        "own.csv: 19 rows, 13 of them refused",
        '  12 x column rank: "x" is not a whole number: write a rank from 0 to 32767',
        "    lines 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, …",
        '  1 x column joined_on: "30.11.2026" is not a day: write it as 2026-11-30, or leave it empty if unknown',
        "    line 20",
        "  13 refused rows in refused.csv, each with its reason",
    ]
    assert ran.err.splitlines()[-1] == "error: own.csv can't be imported as it is; nothing was uploaded"
    assert len((tmp_path / "refused.csv").read_text().splitlines()) == 14
    as_json = await fasttree("import", "own.csv", "--check", "--json")
    assert as_json.code == 1
    assert (as_json.json["good"], as_json.json["rows"], as_json.json["refused_rows"]) == (False, 19, 13)
    assert [(kind["count"], kind["column"]) for kind in as_json.json["kinds"]] == [(12, "rank"), (1, "joined_on")]
    assert cluster.pusher.files == {}


async def test_it_needs_no_cluster_and_says_so(cluster: FakeCluster, fasttree: FastTree, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_bytes(csv_file(*GOOD))
    await cluster.pusher.stop()
    ran = await fasttree("import", "own.csv", "--check", "--timeout", "0.5")
    assert ran.code == 0
    assert ran.out.splitlines()[1].startswith("  no cluster was asked")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nothing.csv", "--check"), "there is no such file"),
        ((".", "--check"), "it is no file"),
        (("own.csv", "--check", "--refused", "own.csv"), "name a file of its own"),
        (("own.csv", "--check", "--refused", "no/such/folder.csv"), "No such file or directory"),
        (("own.csv", "--refused", "refused.csv"), "--refused goes with --check"),
        (("own.csv", "--check", "--wait"), "leave out --wait"),
        (("\udcff.csv", "--check"), "no UTF-8: rename it"),
        (("own.csv", "--check", "--refused", "\udcff.csv"), "no UTF-8: rename it"),
    ],
)
async def test_what_can_not_be_is_said_in_one_line(
    arguments: tuple[str, ...], told: str, fasttree: FastTree, tmp_path: Path
) -> None:
    (tmp_path / "own.csv").write_bytes(csv_file(*GOOD, "200,,A,x,,1"))
    ran = await fasttree("import", *arguments)
    assert ran.code != 0
    assert told in ran.err.splitlines()[-1]
    assert (tmp_path / "own.csv").read_bytes() == csv_file(*GOOD, "200,,A,x,,1")


async def test_another_form_is_seen_and_offered(cluster: FakeCluster, fasttree: FastTree, tmp_path: Path) -> None:
    rows = [row.replace(",", ";") for row in GOOD] + ["200;100;A;x;13/14/2024;1.00"]
    own = csv_file(*rows, header="REP_ID;SPONSOR;Status;Rank;Joined_On;PV").replace(b"REP_ID", b"DISTRIBUTOR_ID")
    (tmp_path / "own.csv").write_bytes(own)
    ran = await fasttree("import", "own.csv", "--check", "--refused", "refused.csv")
    assert ran.out.splitlines()[:8] == [
        "own.csv is of another form than imports have; it seems that",
        "  columns are separated by ;  (--separator ';')",
        "  DISTRIBUTOR_ID looks like member_id  (--map member_id=DISTRIBUTOR_ID)",
        "  SPONSOR looks like sponsor_id  (--map sponsor_id=SPONSOR)",
        "Read so:",
        "own.csv: 7 rows, 1 of them refused",
        '  1 x column Rank: "x" is not a whole number: write a rank from 0 to 32767',
        "    line 8",
    ]
    written = (tmp_path / "refused.csv").read_text().splitlines()
    assert written[0] == "line;column;reason;DISTRIBUTOR_ID;SPONSOR;Status;Rank;Joined_On;PV"
    assert written[1].startswith("8;Rank;")
    assert written[1].endswith(";200;100;A;x;13/14/2024;1.00")


async def test_a_profile_is_kept_and_read(cluster: FakeCluster, fasttree: FastTree, tmp_path: Path) -> None:
    own = csv_file(*(row.replace(",", ";") for row in GOOD), header="NO;SPONSOR_ID;STATUS;RANK;JOINED_ON;PV")
    (tmp_path / "own.csv").write_bytes(own)
    options = ("--map", "member_id=NO", "--separator", ";", "--save-profile", "office.toml")
    ran = await fasttree("import", "own.csv", "--check", *options)
    assert (ran.code, ran.out.splitlines()[0]) == (0, "own.csv: 6 rows, all good")
    assert (tmp_path / "office.toml").read_text() == 'separator = ";"\n\n[columns]\n"member_id" = "NO"\n'
    again = await fasttree("import", "own.csv", "--check", "--profile", "office.toml", "--json")
    assert (again.code, again.json["good"], again.json["guesses"]) == (0, True, [])
    assert again.json["command"] == "fasttree import own.csv --map member_id=NO --separator ';'"
    wrong = await fasttree("import", "own.csv", "--check", "--profile", "office.toml", "--map", "member_id=NUMBER")
    assert 'the header has no column "NUMBER"; it has "NO", "SPONSOR_ID"' in wrong.out


async def test_a_profile_that_is_kept_beside_the_pusher_goes_by_its_name(
    cluster: FakeCluster, fasttree: FastTree, tmp_path: Path
) -> None:
    own = csv_file(*(row.replace(",", ";") for row in GOOD), header="NO;SPONSOR_ID;STATUS;RANK;JOINED_ON;PV")
    (tmp_path / "own members.csv").write_bytes(own)
    (tmp_path / "office").write_text('separator = "|"\n')
    cluster.pusher.profiles["office"] = pusher_pb2.ImportProfile(columns={"member_id": "NO"}, separator=";")
    checked = await fasttree("import", "own members.csv", "--check", "--profile", "office", "--json")
    assert (checked.code, checked.json["good"]) == (0, True)
    assert checked.json["command"] == "fasttree import 'own members.csv' --map member_id=NO --separator ';'"
    other = await fasttree("import", "own members.csv", "--check", "--profile", "office", "--map", "member_id=NUMBER")
    assert 'the header has no column "NUMBER"' in other.out, "what is given beside it goes before it"
    unknown = await fasttree("import", "own members.csv", "--profile", "shop")
    assert unknown.code == 1
    assert unknown.err.splitlines()[-1].endswith(
        "there is no profile shop; kept are office; a file of this machine is named with its .toml, or as ./shop"
    )
    uploaded = await fasttree("import", "own members.csv", "--profile", "office")
    assert uploaded.code == 0
    assert "own members.csv" in uploaded.out + uploaded.err
    assert cluster.pusher.profile_uploaded == cluster.pusher.profiles["office"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--map", "member_id"), "write NAME=HEADER"),
        (("--separator", "::"), 'separator: "::" is none: write one of , ; | or tab'),
        (("--date-format", "M/D/Y"), "write YYYY, MM and DD once each"),
        (("--decimal", "5"), "write the number 1234.50 as the file has it"),
        (("--profile", "/dev/zero"), "--profile /dev/zero: it is no regular file"),
        (("--profile", "no.toml"), "--profile no.toml: No such file"),
        (("--profile", "own.csv"), "--profile own.csv: it is no TOML"),
        (("--profile", "./office"), "--profile office: No such file"),
        (("--profile", "odd.toml"), "--profile odd.toml: seperator: a profile has the texts separator"),
        (("--save-profile", "no/such.toml"), "--save-profile no/such.toml: No such file"),
        (("--save-profile", "/dev/null"), "--save-profile /dev/null: it is no regular file"),
    ],
)
async def test_what_no_form_can_be(arguments: tuple[str, ...], told: str, fasttree: FastTree, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_bytes(csv_file(*GOOD))
    (tmp_path / "odd.toml").write_text('seperator = ";"\n')
    ran = await fasttree("import", "own.csv", "--check", *arguments)
    assert ran.code != 0
    assert told in ran.err.splitlines()[-1]
