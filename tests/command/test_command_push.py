"""`fasttree push`: what it says of what it can't read, of many refusals, and when it is stopped."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from fasttree.v1 import types_pb2
from tests.command.fasttree_command import FastTree
from tests.fakes.cluster import FakeCluster


def order(update_id: str, amount: str = "12.50") -> str:
    return f'{{"update_id": "{update_id}", "volume_posted": {{"member_id": "m1", "amount": "{amount}"}}}}\n'


async def started(fasttree: FastTree, *arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "fasttree.command", "--endpoints", str(fasttree.endpoints_path), *arguments)
    return await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=pipe, preexec_fn=hear_interrupts
    )


def hear_interrupts() -> None:
    """As at a terminal. Where the tests run in the background of a shell, what they start would ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def test_a_byte_order_mark_is_no_fault(cluster: FakeCluster, fasttree: FastTree, tmp_path: Path) -> None:
    (tmp_path / "updates.jsonl").write_text("\ufeff" + order("o-1") + order("o-2"), encoding="utf-8")
    ran = await fasttree("push", "updates.jsonl")
    assert (ran.code, ran.out) == (0, "pushed 2 updates: 2 new; positions 1 to 2\n")


async def test_what_is_no_utf_8_is_said_so(fasttree: FastTree, tmp_path: Path) -> None:
    (tmp_path / "updates.jsonl").write_bytes(order("o-1").encode() + order("\u00e9").encode("latin-1"))
    ran = await fasttree("push", "updates.jsonl")
    assert ran.err.startswith("error: updates.jsonl, line 2: not UTF-8: save the file as UTF-8 (the lines before it")


async def test_an_order_that_the_rules_refuse_is_a_failure_and_its_id_is_free(
    cluster: FakeCluster, fasttree: FastTree, tmp_path: Path
) -> None:
    (tmp_path / "updates.jsonl").write_text(order("o-1"))
    cluster.pusher.refuses["o-1"] = "period 2026-09 is not open: open it, or name another"
    refused = await fasttree("push", "updates.jsonl")
    assert (refused.code, refused.out) == (1, "pushed 1 update: 0 new, 1 refused\n")
    assert refused.err.splitlines() == [
        "error: updates.jsonl, line 1 (o-1): period 2026-09 is not open: open it, or name another",
        "error: 1 of 1 update refused; the reasons stand above",
    ]
    assert (await fasttree("push", "updates.jsonl", "--json")).code == 1
    cluster.pusher.refuses.clear()
    taken = await fasttree("push", "updates.jsonl")
    assert (taken.code, taken.out) == (0, "pushed 1 update: 1 new; position 1\n")


async def test_many_refusals_of_one_kind_are_counted(fasttree: FastTree, tmp_path: Path) -> None:
    taken = "".join(order(f"o-{number}") for number in range(30))
    other = "".join(order(f"o-{number}", "99") for number in range(30))
    (tmp_path / "updates.jsonl").write_text(taken + other)
    ran = await fasttree("push", "updates.jsonl")
    lines = ran.err.splitlines()
    assert lines[0].startswith("error: updates.jsonl, line 31 (o-0): other content under this id")
    assert lines[9].startswith("error: updates.jsonl, line 40 (o-9): ")
    assert lines[10].startswith("error: 20 more updates refused for a reason such as: other content under this id")
    assert lines[11:] == ["error: 30 of 60 updates refused; the reasons stand above"]
    as_json = await fasttree("push", "updates.jsonl", "--json")
    assert len([line for line in as_json.json_lines if line["code"]]) == 30


async def test_each_update_is_counted_as_one_thing(cluster: FakeCluster, fasttree: FastTree, tmp_path: Path) -> None:
    """What the nodes made of those that were known is told as far as the pusher still knows: no part of a sum."""
    cluster.pusher.outcome = types_pb2.OUTCOME_APPLIED
    (tmp_path / "updates.jsonl").write_text("".join(order(f"o-{number}") for number in range(9)))
    first = await fasttree("push", "updates.jsonl", "--ack", "all")
    assert first.out == "pushed 9 updates: 9 new (9 applied); positions 1 to 9\n"
    cluster.pusher.forgotten = {1, 2, 3}
    again = await fasttree("push", "updates.jsonl", "--ack", "all")
    assert again.out == "pushed 9 updates: 0 new, 9 known already; positions 1 to 9\n"
    (tmp_path / "updates.jsonl").write_text("".join(order(f"o-{number}") for number in range(7, 12)))
    both = await fasttree("push", "updates.jsonl", "--ack", "all")
    assert both.out == "pushed 5 updates: 3 new (3 applied), 2 known already; positions 8 to 12\n"
    cluster.pusher.unconfirmed = {8, 9}
    late = await fasttree("push", "updates.jsonl", "--ack", "all")
    assert (late.code, late.out) == (
        1,
        "pushed 5 updates: 0 new, 3 known already, 2 not confirmed; positions 8 to 12\n",
    )
    assert late.err.splitlines()[-1] == "error: 2 of 5 updates not confirmed; the reasons stand above"


async def test_who_stops_it_hears_how_far_it_was(fasttree: FastTree) -> None:
    process = await started(fasttree, "push", "-")
    assert process.stdin is not None
    process.stdin.write((order("o-1") + order("o-2")).encode())
    await process.stdin.drain()
    process.stdin.write(order("o-2", "7").encode())
    await process.stdin.drain()
    assert process.stderr is not None
    refused = await asyncio.wait_for(process.stderr.readline(), 30)
    assert b"(o-2): other content" in refused
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 130
    assert err.decode().rstrip() == (
        "interrupted; pushed 3 updates: 2 new, 1 refused; positions 1 to 2; "
        "what has no receipt may be pushed again, nothing counts twice"
    )


async def test_a_reader_that_has_enough_is_no_failure(fasttree: FastTree) -> None:
    """As `| head` is."""
    process = await started(fasttree, "push", "-", "--json")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(order("o-1").encode())
    await process.stdin.drain()
    await asyncio.wait_for(process.stdout.readline(), 30)
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]  # no public way to close it
    process.stdin.write("".join(order(f"o-{number}") for number in range(2, 50)).encode())
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_orders_as_rows(cluster: FakeCluster, fasttree: FastTree, tmp_path: Path) -> None:
    rows = "\ufeffUpdate_ID;Member_ID;Amount;Period\r\no-1;m1;12.50;\r\n\r\no-2;m2;-1;2026-11\r\n"
    (tmp_path / "orders.csv").write_text(rows, encoding="utf-8", newline="")
    ran = await fasttree("push", "--csv", "orders.csv", "--separator", ";")
    assert (ran.code, ran.out) == (0, "pushed 2 updates: 2 new; positions 1 to 2\n")
    orders = [update.volume_posted for update in cluster.pusher.updates]
    assert [(each.member_id, each.amount_hundredths, each.period) for each in orders] == [
        ("m1", 1250, ""),
        ("m2", -100, "2026-11"),
    ]


async def test_members_as_rows_from_standard_input(cluster: FakeCluster, fasttree: FastTree) -> None:
    rows = (
        "update_id,member_id,sponsor_id,kind,rank,returning,columns.City\n"
        'e-1,90001,m1,customer,3,true,"Oslo,\n""North"""\n'
        "e-2,90002,m1,,,,\n"
    )
    ran = await fasttree("push", "-", "--csv", "--change", "member_enrolled", stdin=rows)
    assert (ran.code, ran.err) == (0, "")
    first, second = (update.member_enrolled for update in cluster.pusher.updates)
    assert (first.kind, first.rank, first.returning) == (types_pb2.MEMBER_KIND_CUSTOMER, 3, True)
    assert dict(first.columns) == {"City": 'Oslo,\n"North"'}
    assert second == types_pb2.MemberEnrolled(member_id="90002", sponsor_id="m1")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("", "line 1: no header: the first line names fields, some of update_id, member_id"),
        ("member_id,amount\nm1,1\n", "line 1: the header has no update_id"),
        (
            "update_id,membr_id\n",
            'line 1: there is no field "membr_id" in volume_posted: did you mean member_id? it has',
        ),
        ("update_id,amount,Amount\n", 'line 1: the header has "amount" twice'),
        ("update_id,columns.x\n", 'line 1: there is no field "columns.x" in volume_posted'),
        ("update_id,member_id,amount\no-1,m1\n", "line 2: the row has 2 fields, the header 3"),
        ("update_id,member_id,amount\no-1,m1,\n", "line 2: volume_posted has no amount"),
        ("update_id,member_id,amount\no-1,m1,1e\n", "line 2: "),
        ('update_id,member_id,amount\n\no-1,"m\n1",1\no-2,"m1,1\n', "line 5: a quote is not closed"),
        ('update_id,member_id,amount\no-1,"m"1",1"\n', "line 2: its quotes can't be read"),
    ],
)
async def test_a_row_that_is_none_is_named(rows: str, told: str, fasttree: FastTree, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(rows)
    ran = await fasttree("push", "--csv", "orders.csv")
    assert ran.code == 1
    assert f"orders.csv, {told}" in ran.err


async def test_what_goes_with_rows_alone(fasttree: FastTree) -> None:
    ran = await fasttree("push", "updates.jsonl", "--change", "member_moved")
    assert (ran.code, "go with --csv" in ran.err) == (2, True)
