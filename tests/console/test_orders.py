"""Orders as they come: of whom the nodes show, in order, bounded; and members who are found by their names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fasttree.client import Client, InvalidArgumentError, NotFoundError
from fasttree.v1 import report_pb2, types_pb2
from services.console.orders.following import KEPT_MAX, NewOrders, Order
from services.console.orders.sight import Sight
from tests.console.conftest import Asking, running_console
from tests.console.test_cluster_pages import events
from tests.fakes.cluster import FakeCluster
from tests.waiting import until


async def push(cluster: FakeCluster, *orders: tuple[str, int], begin: int = 0) -> None:
    async with Client(cluster.endpoints) as client:
        updates = [
            types_pb2.Update(
                update_id=f"o{begin + number}",
                volume_posted=types_pb2.VolumePosted(member_id=member_id, amount_hundredths=amount),
            )
            for number, (member_id, amount) in enumerate(orders)
        ]
        assert len([receipt async for receipt in client.push(updates)]) == len(orders)


@asynccontextmanager
async def looking(console: Asking, path: str = "/api/orders", **headers: str) -> AsyncIterator[Any]:
    """Gives what waits for so many orders, once the log is followed."""
    async with console.session.get(path, headers=headers) as answer:
        assert answer.status == 200
        async with aclosing(events(answer)) as heard:  # type: ignore[type-var]
            found: list[dict[str, Any]] = []

            async def orders(count: int) -> list[tuple[str, int]]:
                async with asyncio.timeout(60):
                    while len(found) < count:
                        name, data = await anext(heard)
                        assert name == "orders"
                        found.extend(data["orders"])
                return [(one["member_id"], one["amount_hundredths"]) for one in found]

            yield orders


async def followed(cluster: FakeCluster, reads: int = 1) -> None:
    await until(lambda: cluster.pusher.log_reads >= reads, "the log to be read")


async def test_orders_come_in_order_and_only_of_members_who_are_there(cluster: FakeCluster) -> None:
    await push(cluster, ("m0", 1))  # before anybody looked
    async with running_console(cluster, orders_s=0.01) as console, looking(console) as orders:
        await followed(cluster)
        await push(cluster, ("m1", 200), ("stranger", 300), ("m2", -50), begin=1)
        assert await orders(2) == [("m1", 200), ("m2", -50)]
        # Whoever comes later sees what was read already, and both go on.
        async with looking(console) as others:
            assert await others(2) == [("m1", 200), ("m2", -50)]
            await push(cluster, ("m3", 7), begin=4)
            assert (await orders(3))[2:] == (await others(3))[2:] == [("m3", 7)]
        assert cluster.pusher.log_reads == 1


async def test_the_log_is_read_while_somebody_looks_and_from_where_it_was(cluster: FakeCluster) -> None:
    async with running_console(cluster, orders_s=0.01) as console:
        async with looking(console) as orders:
            await followed(cluster)
            await push(cluster, ("m1", 1))
            assert await orders(1) == [("m1", 1)]
        await until(lambda: not console.console.orders.count, "the browser to have gone")
        await push(cluster, ("m2", 2), begin=1)
        async with looking(console) as orders:
            assert await orders(2) == [("m1", 1), ("m2", 2)]


async def test_who_may_see_nothing_is_told_before_anything_is_sent(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_console(cluster, key_file=str(tmp_path / "key"), viewers_max=1) as console:
        assert (await console.get("/api/orders"))[0] == 401
        key = {"X-FastTree-Key": (tmp_path / "key").read_text().strip()}
        async with looking(console, **key):
            assert (await console.get("/api/orders", **key))[0] == 503


class Nodes:
    """Show the members of one line, each below the one before."""

    def __init__(self, *line: str) -> None:
        self.line = line
        self.asked = 0

    async def batch_get_members(self, ids: list[str], **_: Any) -> report_pb2.BatchGetMembersResponse:
        self.asked += 1
        found = [types_pb2.Member(member_id=one) for one in ids if one in self.line]
        return report_pb2.BatchGetMembersResponse(members=found)

    async def list_upline(self, member_id: str, *, to_member_id: str, **_: Any) -> Any:
        if to_member_id not in self.line:
            raise NotFoundError("no such member")
        if self.line.index(to_member_id) >= self.line.index(member_id):
            raise InvalidArgumentError("it is not above")


async def test_below_a_member_are_himself_and_his_downline() -> None:
    now, nodes = [0.0], Nodes("a", "b", "c", "d")
    orders = [Order(at, 0, member_id, 1, "", "") for at, member_id in enumerate("abcdx")]

    async def seen(below: str) -> str:
        sight = Sight(nodes, below, lambda: now[0])  # type: ignore[arg-type]
        return "".join(order.member_id for order in await sight.of(orders))

    assert [await seen(below) for below in ("", "a", "c", "d", "x")] == ["abcd", "abcd", "cd", "d", ""]
    # Who was asked about is remembered for a while, and only that.
    sight = Sight(nodes, "", lambda: now[0])  # type: ignore[arg-type]
    nodes.asked = 0
    await sight.of(orders)
    nodes.line = ("a",)
    assert len(await sight.of(orders)) == 4
    assert nodes.asked == 1
    now[0] += 60
    assert len(await sight.of(orders)) == 1


async def test_what_is_kept_and_looked_at_is_bounded(cluster: FakeCluster) -> None:
    async with Client(cluster.endpoints) as client:
        new = NewOrders(client, 0.01)
        with new.looking():
            await followed(cluster)
            await push(cluster, *[("m1", number) for number in range(KEPT_MAX + 500)])
            await until(lambda: new.after(0, 1)[2] == KEPT_MAX + 500, "all records to be read")
            orders, skipped, seen = new.after(0, 10)
            assert (len(orders), skipped, seen) == (10, KEPT_MAX - 10, KEPT_MAX + 500)
            assert orders[-1].amount_hundredths == KEPT_MAX + 499
            assert new.after(seen, 10) == ([], 0, seen)


async def test_members_are_found_by_name_where_the_tree_has_names(cluster: FakeCluster, console: Asking) -> None:
    _, found = await console.get("/api/search?prefix=m")
    assert (found["by_name"], found["members"][0]["name"]) == (False, "")
    cluster.reports.columns.append(report_pb2.ColumnDescription(name="name", type=report_pb2.COLUMN_TYPE_TEXT))
    cluster.reports.members[2].columns["name"] = "Ann Meyer"
    _, found = await console.get("/api/search?prefix=ann%20m")
    asked = cluster.reports.last_request
    assert found["by_name"] is True
    assert "Ann Meyer" in [one["name"] for one in found["members"]]
    assert [(one.column, one.min) for one in asked.filter.ranges] == [("name", "Ann M")]
    assert (await console.get("/api/search?prefix="))[0] == 400
    assert (await console.get(f"/api/search?prefix={'x' * 65}"))[0] == 400
    assert (await console.get("/api/search?prefix=%C3%84nne"))[0] == 200  # no id begins so
