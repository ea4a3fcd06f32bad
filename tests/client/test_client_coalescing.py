"""Members that are asked for at one time: fetched together, each with its own answer, error and deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from fasttree.client import (
    Client,
    ClientClosedError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    Retries,
)
from fasttree.client.calls.coalescing import MEMBERS_A_FLIGHT_MAX, Coalescer
from fasttree.v1 import report_pb2, types_pb2
from tests.fakes.cluster import fake_cluster
from tests.waiting import until

PLAIN = report_pb2.ReportOptions()


class Node:
    """Answers when it is let; notes what it was asked."""

    def __init__(self) -> None:
        self.flights: list[list[str]] = []
        self.left_s: list[float] = []
        self.options: list[report_pb2.ReportOptions] = []
        self.open = asyncio.Event()
        self.open.set()
        self.unknown: set[str] = set()
        self.refused: set[str] = set()
        #: Flights that end by their deadline, first.
        self.late = 0

    async def one(self, request: report_pb2.GetMemberRequest, left_s: float) -> report_pb2.GetMemberResponse:
        await self._take([request.member_id], request.options, left_s)
        if request.member_id in self.unknown:
            raise NotFoundError(f"no member {request.member_id}")
        return report_pb2.GetMemberResponse(member=types_pb2.Member(member_id=request.member_id))

    async def many(
        self, request: report_pb2.BatchGetMembersRequest, left_s: float
    ) -> report_pb2.BatchGetMembersResponse:
        await self._take(list(request.member_ids), request.options, left_s)
        return report_pb2.BatchGetMembersResponse(
            as_of=types_pb2.AsOf(position=7),
            members=[types_pb2.Member(member_id=each) for each in request.member_ids if each not in self.unknown],
            unknown_member_ids=sorted(self.unknown.intersection(request.member_ids)),
        )

    async def _take(self, member_ids: list[str], options: report_pb2.ReportOptions, left_s: float) -> None:
        self.flights.append(member_ids)
        self.left_s.append(left_s)
        self.options.append(options)
        if self.late:
            self.late -= 1
            await asyncio.sleep(left_s)
            raise DeadlineExceededError("no answer in time")
        await self.open.wait()
        if self.refused.intersection(member_ids):
            raise InvalidArgumentError("is no member id")


def coalescer(node: Node, timeout_s: float = 60.0) -> Coalescer:
    return Coalescer(node.one, node.many, timeout_s)


async def wanted(
    one: Coalescer, member_id: str, options: report_pb2.ReportOptions | None
) -> report_pb2.GetMemberResponse:
    """As a client's `get_member` does it: asked for and awaited in one step."""
    return await one.get(member_id, options)


async def asked(one: Coalescer, member_ids: Iterable[str]) -> list[str | type[BaseException]]:
    """The id of each answer, or the kind of its error."""
    answers = await asyncio.gather(*(wanted(one, each, PLAIN) for each in member_ids), return_exceptions=True)
    return [type(each) if isinstance(each, BaseException) else each.member.member_id for each in answers]


async def test_one_alone_goes_alone_and_at_once() -> None:
    node = Node()
    assert await asked(coalescer(node), ["a"]) == ["a"]
    assert node.flights == [["a"]]


async def test_who_is_cancelled_before_a_flight_begins_takes_nobody_along() -> None:
    node = Node()
    one = coalescer(node)
    first, second = (asyncio.create_task(wanted(one, each, PLAIN)) for each in ("a", "b"))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).member.member_id == "b"
    with pytest.raises(asyncio.CancelledError):
        await first
    assert node.flights == [["b"]]
    assert one.__dict__["_queues"] == {}


async def test_one_alone_that_is_cancelled_leaves_room_for_the_next() -> None:
    node = Node()
    node.open.clear()
    one = coalescer(node)
    first = asyncio.create_task(wanted(one, "a", PLAIN))
    await until(lambda: node.flights == [["a"]], "the first to be asked for")
    others = [asyncio.create_task(wanted(one, each, PLAIN)) for each in ("b", "c")]
    first.cancel()
    node.open.set()
    assert [(await other).member.member_id for other in others] == ["b", "c"]
    assert one.__dict__["_queues"] == {}


async def test_those_of_one_moment_go_together_each_with_its_own_answer() -> None:
    node = Node()
    assert await asked(coalescer(node), ["a", "b", "a", "c"]) == ["a", "b", "a", "c"]
    assert node.flights == [["a", "b", "a", "c"]]


async def test_two_flights_at_most_and_the_rest_follows_together() -> None:
    node = Node()
    node.open.clear()
    one = coalescer(node)
    waiting = []
    for name in "abcdef":
        waiting.append(asyncio.create_task(asked(one, [name])))
        await asyncio.sleep(0.001)
    assert node.flights == [["a"], ["b"]]
    node.open.set()
    assert [answer for task in waiting for answer in await task] == list("abcdef")
    assert node.flights == [["a"], ["b"], ["c", "d", "e", "f"]]


async def test_a_flight_has_a_bounded_number() -> None:
    node = Node()
    names = [f"m{number}" for number in range(2 * MEMBERS_A_FLIGHT_MAX + 1)]
    assert await asked(coalescer(node), names) == names
    assert [len(flight) for flight in node.flights] == [MEMBERS_A_FLIGHT_MAX, MEMBERS_A_FLIGHT_MAX, 1]


async def test_an_id_that_nobody_has_fails_alone() -> None:
    node = Node()
    node.unknown = {"x"}
    assert await asked(coalescer(node), ["a", "x", "b"]) == ["a", NotFoundError, "b"]
    assert node.flights == [["a", "x", "b"], ["x"]]


async def test_a_refused_batch_is_asked_singly() -> None:
    node = Node()
    node.refused = {"bad"}
    assert await asked(coalescer(node), ["a", "bad", "b"]) == ["a", InvalidArgumentError, "b"]


async def test_other_options_are_another_flight_and_wait_for_nobody() -> None:
    node = Node()
    node.open.clear()
    one = coalescer(node)
    later = report_pb2.ReportOptions(min_position=9)
    tasks = [asyncio.create_task(wanted(one, name, PLAIN)) for name in "ab"]
    tasks += [asyncio.create_task(wanted(one, name, later)) for name in "cd"]
    await until(lambda: len(node.flights) == 2, "the flights")
    assert sorted(node.flights) == [["a", "b"], ["c", "d"]]
    assert [options.min_position for options in node.options] == [0, 9]
    node.open.set()
    assert [answer.member.member_id for answer in await asyncio.gather(*tasks)] == list("abcd")


async def test_each_keeps_its_own_deadline() -> None:
    """A flight ends by the deadline of the first in it; who came later has time left, and is asked for again."""
    node = Node()
    node.late = 2
    one = coalescer(node, timeout_s=3.0)
    first = asyncio.create_task(asked(one, ["a"]))
    await until(lambda: len(node.flights) == 1, "the flights")
    second = asyncio.create_task(asked(one, ["b"]))
    await until(lambda: len(node.flights) == 2, "the flights")
    await asyncio.sleep(1.5)
    later = asyncio.create_task(asked(one, ["c", "d"]))
    assert await first == [DeadlineExceededError]
    assert await second == [DeadlineExceededError]
    assert await later == ["c", "d"]
    assert node.flights[2] == ["c", "d"]
    assert node.left_s[2] < 3.0


async def test_who_leaves_is_not_asked_for() -> None:
    node = Node()
    node.open.clear()
    one = coalescer(node)
    tasks = []
    for name in "abcd":
        tasks.append(asyncio.create_task(wanted(one, name, PLAIN)))
        await asyncio.sleep(0.001)
    tasks[2].cancel()
    await asyncio.sleep(0.001)
    node.open.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert node.flights == [["a"], ["b"], ["d"]]


async def test_nothing_is_kept_when_all_is_answered() -> None:
    node = Node()
    one = coalescer(node)
    for position in range(100):
        await one.get("a", report_pb2.ReportOptions(min_position=position))
    await asyncio.sleep(0)
    assert one.__dict__["_queues"] == {}
    assert one.__dict__["_tasks"] == set()


async def test_through_a_client_and_off_by_a_setting() -> None:
    async with fake_cluster() as cluster:
        for coalesce, calls in ((True, 1), (False, 4)):
            async with Client(cluster.endpoints, retries=Retries(timeout_s=60), coalesce=coalesce) as client:
                await client.reports.get_member("m1")
                cluster.reports.calls = 0
                answers = await asyncio.gather(*(client.reports.get_member(f"m{number}") for number in range(1, 5)))
                assert [answer.member.sponsor_id for answer in answers] == ["m0", "m1", "m2", "m3"]
                assert {answer.as_of.position for answer in answers} == {7}
                assert cluster.reports.calls == calls


async def test_a_client_that_is_closed_under_its_awaits_leaves_none_waiting() -> None:
    """Those of a flight, those that wait for one, those that come later; with and without coalescing."""
    for coalesce in (True, False):
        async with fake_cluster() as cluster:
            cluster.reports.open.clear()
            client = Client(cluster.endpoints, retries=Retries(timeout_s=60), coalesce=coalesce)
            waiting = []
            for number in range(50):
                waiting.append(asyncio.create_task(client.reports.get_member(f"m{number % 4}")))
                await asyncio.sleep(0)
            await until(lambda cluster=cluster: cluster.reports.calls >= 1, "the first call")  # type: ignore[misc]
            reports = client.reports
            await client.close()
            async with asyncio.timeout(60):
                ends = await asyncio.gather(*waiting, return_exceptions=True)
            assert {type(end) for end in ends} == {ClientClosedError}
            for later in (reports.get_member("m1"), client.get_cluster()):
                with pytest.raises(ClientClosedError, match="the client is closed"):
                    await later
            cluster.reports.open.set()


async def test_who_is_cancelled_is_cancelled() -> None:
    async with fake_cluster() as cluster:
        cluster.reports.open.clear()
        for coalesce in (True, False):
            async with Client(cluster.endpoints, retries=Retries(timeout_s=60), coalesce=coalesce) as client:
                task = asyncio.create_task(client.reports.get_member("m1"))
                await asyncio.sleep(0.01)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await client.reports.get_member("m1")
        cluster.reports.open.set()
