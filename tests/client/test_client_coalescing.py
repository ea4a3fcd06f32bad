"""Members that are asked for at one time: fetched together, each with its own answer, error and deadline."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from typing import Any

import pytest

from fasttree.client import (
    Client,
    ClientClosedError,
    DeadlineExceededError,
    FastTreeClientError,
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
        self.refused_field = "member_ids[1]"
        #: Of this side, such as a message that can't be written.
        self.fault: Exception | None = None
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
            raise InvalidArgumentError("is no member id", field=self.refused_field)
        if self.fault is not None:
            raise self.fault


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
    assert node.flights == [["a", "x", "b"]]


async def test_thousands_of_ids_that_nobody_has_are_no_calls_of_their_own() -> None:
    node = Node()
    names = [f"m{number}" for number in range(2 * MEMBERS_A_FLIGHT_MAX)]
    node.unknown = set(names[1:])
    assert await asked(coalescer(node), names) == ["m0"] + [NotFoundError] * (len(names) - 1)
    assert len(node.flights) == 2


async def test_a_batch_that_is_refused_for_one_of_it_is_asked_singly() -> None:
    node = Node()
    node.refused = {"bad"}
    assert await asked(coalescer(node), ["a", "bad", "b"]) == ["a", InvalidArgumentError, "b"]


async def test_what_is_refused_for_its_options_is_asked_once() -> None:
    node = Node()
    node.refused, node.refused_field = {"a"}, "options.columns"
    assert await asked(coalescer(node), ["a", "b", "c"]) == [InvalidArgumentError] * 3
    assert node.flights == [["a", "b", "c"]]


@pytest.mark.parametrize("odd", ["", " a", "a ", "x" * 33, "é", "a\n", "\x00"])
async def test_an_id_that_can_be_none_goes_alone(odd: str) -> None:
    node = Node()
    node.refused = {odd}
    assert await asked(coalescer(node), ["a", odd, "b"]) == ["a", InvalidArgumentError, "b"]
    assert sorted(node.flights) == sorted([["a", "b"], [odd]])


async def test_a_fault_on_the_way_leaves_nobody_waiting() -> None:
    node = Node()
    node.fault = RuntimeError("as nobody expects")
    one = coalescer(node)
    async with asyncio.timeout(60):
        assert await asked(one, ["a", "b", "c"]) == [RuntimeError] * 3
    node.fault = None
    assert await asked(one, ["a", "b"]) == ["a", "b"]


async def test_an_answer_that_lacks_members_gives_nobody_that_of_another() -> None:
    node = Node()
    many = node.many

    async def lacking(request: report_pb2.BatchGetMembersRequest, left_s: float) -> report_pb2.BatchGetMembersResponse:
        answer = await many(request, left_s)
        del answer.members[0]
        return answer

    node.many = lacking  # type: ignore[method-assign]
    assert await asked(coalescer(node), ["a", "b", "c"]) == ["a", "b", "c"]


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


@pytest.mark.parametrize("coalesce", [True, False])
async def test_what_is_no_text_is_told_to_whoever_asks_for_it_and_to_nobody_else(coalesce: bool) -> None:
    async with fake_cluster() as cluster, Client(cluster.endpoints, coalesce=coalesce) as client:
        for odd in (1, b"m1", None, ["m1"]):
            async with asyncio.timeout(60):
                *others, end = await asyncio.gather(
                    *(client.reports.get_member(f"m{number}") for number in range(1, 4)),
                    client.reports.get_member(odd),  # type: ignore[arg-type]
                    return_exceptions=True,
                )
            assert [each.member.sponsor_id for each in others] == ["m0", "m1", "m2"]  # type: ignore[union-attr]
            assert isinstance(end, TypeError)
            assert "a member id is text" in str(end)
        for several in ("m1", [1], [b"m1"]):
            with pytest.raises(TypeError, match="such as"):
                await client.reports.batch_get_members(several)  # type: ignore[arg-type]
        # No UTF-8 can be made of it, and so no message.
        ends = await asyncio.gather(
            *(client.reports.get_member(each) for each in ("m1", "\ud800")), return_exceptions=True
        )
        assert [type(end) for end in ends] == [report_pb2.GetMemberResponse, UnicodeEncodeError]


def test_a_client_says_that_it_belongs_to_another_event_loop() -> None:
    async def story() -> None:
        async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
            await client.reports.get_member("m1")
            for call in (lambda: client.reports.get_member("m1"), client.reports.describe_tree, client.get_cluster):
                with pytest.raises(FastTreeClientError, match="make a Client in each"):
                    await asyncio.to_thread(asyncio.run, call())  # type: ignore[arg-type]
            await client.reports.get_member("m1")

    asyncio.run(story())


@pytest.mark.parametrize("odd", [0, -1, math.nan, math.inf, 1e300, 10**40, "1", None])
def test_a_time_that_is_none_is_refused(odd: Any) -> None:
    with pytest.raises(ValueError, match=r"timeout_s is .*: give seconds, more than 0"):
        Retries(timeout_s=odd)
    with pytest.raises(ValueError, match="wait_s_max is"):
        Retries(wait_s_max=odd)
    if odd is not None:
        with pytest.raises(ValueError, match="patience_s is"):
            Retries(patience_s=odd)
