"""`fasttree push --layout`: records of COBOL programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command.fasttree_command import FastTree
from tests.fakes.cluster import FakeCluster

LAYOUT = """
change = "volume_posted"
update_id = "order-{order}"

[[fields]]
name = "order"
picture = "X(6)"

[[fields]]
name = "member_id"
picture = "9(9)"

[[fields]]
name = "amount"
picture = "S9(5)V99"
"""
PACKED = LAYOUT.replace('S9(5)V99"', 'S9(5)V99 COMP-3"').replace("\n\n[[", '\nends = "none"\n\n[[', 1)
RECORDS = b"A-0001" + b"000000007" + b"000125{" + b"\n" + b"A-0002" + b"000000008" + b"000125}" + b"\r\n"


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    file = tmp_path / "orders.toml"
    file.write_text(LAYOUT)
    return file


def pushed(cluster: FakeCluster) -> list[tuple[str, str, int]]:
    return [
        (update.update_id, update.volume_posted.member_id, update.volume_posted.amount_hundredths)
        for update in cluster.pusher.updates
    ]


ORDERS = [("order-A-0001", "7", 1250), ("order-A-0002", "8", -1250)]


async def test_records_are_pushed(cluster: FakeCluster, fasttree: FastTree, layout: Path, tmp_path: Path) -> None:
    (tmp_path / "orders.dat").write_bytes(RECORDS + b"\n\x1a")
    ran = await fasttree("push", "orders.dat", "--layout", "orders.toml")
    assert (ran.code, ran.out) == (0, "pushed 2 updates: 2 new; positions 1 to 2\n")
    assert pushed(cluster) == ORDERS
    again = await fasttree("push", "orders.dat", "--layout", "orders.toml")
    assert "2 known already" in again.out


async def test_packed_records_have_no_ends(cluster: FakeCluster, fasttree: FastTree, tmp_path: Path) -> None:
    (tmp_path / "packed.toml").write_text(PACKED)
    amounts = [bytes.fromhex("0001250c"), bytes.fromhex("0001250d")]
    records = b"A-0001000000007" + amounts[0] + b"A-0002000000008" + amounts[1]
    (tmp_path / "orders.dat").write_bytes(records)
    ran = await fasttree("push", "orders.dat", "--layout", "packed.toml")
    assert ran.code == 0, ran.err
    assert pushed(cluster) == ORDERS
    (tmp_path / "orders.dat").write_bytes(records[:-3])
    ran = await fasttree("push", "orders.dat", "--layout", "packed.toml")
    assert ran.code == 1
    assert "orders.dat, record 2: the record has 16 bytes, the layout 19" in ran.err


async def test_records_without_an_id_are_known_by_their_place(
    cluster: FakeCluster, fasttree: FastTree, layout: Path, tmp_path: Path
) -> None:
    layout.write_text(LAYOUT.replace('update_id = "order-{order}"', "").replace('"order"', '"filler"'))
    (tmp_path / "orders.dat").write_bytes(RECORDS)
    assert (await fasttree("push", "orders.dat", "--layout", "orders.toml")).code == 0
    assert [each[0] for each in pushed(cluster)] == ["orders.dat:1", "orders.dat:2"]
    ran = await fasttree("push", "-", "--layout", "orders.toml", stdin="")
    assert "standard input has no name" in ran.err


@pytest.mark.parametrize(
    ("content", "words", "expected"),
    [
        (LAYOUT.replace("member_id", "member"), [], 'orders.toml: there is no field "member" in volume_posted: did'),
        (LAYOUT.replace("volume_posted", "volume"), [], 'orders.toml: there is no change "volume"'),
        (LAYOUT.replace("9(9)", "A(9)"), [], 'orders.toml: field 2 ("member_id"): picture "A(9)": write X(12)'),
        (LAYOUT, ["--csv"], "--csv and --layout are two forms of a file"),
        (LAYOUT, ["--separator", ";"], "--change and --separator go with --csv"),
        (LAYOUT.replace("9(9)", "9(8)"), [], "orders.dat, line 1: the record has 22 bytes, the layout 21"),
        (LAYOUT.replace("X(6)", "9(6)"), [], "orders.dat, line 1: order (bytes 1 to 6): "),
    ],
)  # fmt: skip
async def test_what_does_not_fit_is_one_line(
    fasttree: FastTree, layout: Path, tmp_path: Path, content: str, words: list[str], expected: str
) -> None:
    layout.write_text(content)
    (tmp_path / "orders.dat").write_bytes(RECORDS)
    ran = await fasttree("push", "orders.dat", "--layout", "orders.toml", *words)
    assert ran.code != 0
    assert expected in ran.err
    assert len(ran.err.splitlines()) == 1
