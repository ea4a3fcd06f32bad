"""`fasttree import --check`: everything that is wrong with a file, and nothing uploaded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.command.fasttree_command import FastTree
from tests.fakes.cluster import FakeCluster, fake_cluster
from tests.treenode.imports.reading.bad_file import GOOD, csv_file


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    async with fake_cluster() as started:
        yield started


@pytest.fixture
def fasttree(cluster: FakeCluster, tmp_path: Path) -> FastTree:
    return FastTree(tmp_path, cluster.endpoints)


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
