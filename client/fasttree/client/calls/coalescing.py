"""Single members that are asked for at one time, fetched together.

A call costs a client and a server far more than the member in it. So awaits of `get_member` that come while others are
under way wait for those, and then go as one BatchGetMembers: up to two flights for each kind of question (its options),
as many members as have come meanwhile. One that comes alone goes alone, at once.

Each await keeps what it would have by itself: its deadline, its answer's `as_of`, its own error. What would have all of
a batch refused, an id that can't be one, goes alone from the beginning. Whatever happens, nobody waits for ever: who is
left by a flight is told what became of it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from fasttree.client.errors import CallError, DeadlineExceededError, UnavailableError, member_unknown
from fasttree.v1 import report_pb2

FLIGHTS_MAX = 2
MEMBERS_A_FLIGHT_MAX = 1_000
#: Ids that a batch is taken with; a server says what is wrong with any other.
_is_id = re.compile(r"[!-~](?:[ -~]{0,30}[!-~])?").fullmatch

#: Asks for one member, or for several; with the seconds that are left.
AskOne = Callable[[report_pb2.GetMemberRequest, float], Awaitable[report_pb2.GetMemberResponse]]
AskMany = Callable[[report_pb2.BatchGetMembersRequest, float], Awaitable[report_pb2.BatchGetMembersResponse]]


_read_answer = report_pb2.GetMemberResponse.FromString


#: Which member, until when (seconds of the monotonic clock), for whom. A plain tuple: there is one for each await.
_Waiter: TypeAlias = tuple[str, float, asyncio.Future[report_pb2.GetMemberResponse]]


@dataclass(slots=True)
class _Queue:
    """Those with the same options."""

    options: report_pb2.ReportOptions | None
    waiting: deque[_Waiter] = field(default_factory=deque)
    flights: int = 0
    #: A flight is to begin at the end of this turn of the loop.
    due: bool = False


class Coalescer:
    """Of one address; in one event loop."""

    def __init__(self, ask_one: AskOne, ask_many: AskMany, timeout_s: float) -> None:
        self._ask_one = ask_one
        self._ask_many = ask_many
        self._timeout_s = timeout_s
        self._queues: dict[bytes, _Queue] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, member_id: str, options: report_pb2.ReportOptions | None) -> Awaitable[report_pb2.GetMemberResponse]:
        """One member, to be awaited at once, which raises a CallError. Who joins others costs a future only."""
        if _is_id(member_id) is None:
            return self._apart(member_id, options)
        key = b"" if options is None else options.SerializeToString(deterministic=True)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = _Queue(options)
        if not (queue.due or queue.flights):
            queue.due = True
            return self._lead(key, queue, member_id)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[report_pb2.GetMemberResponse] = loop.create_future()
        queue.waiting.append((member_id, time.monotonic() + self._timeout_s, answer))
        if not queue.due and queue.flights < FLIGHTS_MAX:
            queue.due = True
            # At the end of this turn: what others ask for in it goes along.
            loop.call_soon(self._depart, key)
        return answer

    async def _lead(self, key: bytes, queue: _Queue, member_id: str) -> report_pb2.GetMemberResponse:
        """Of one that finds nothing under way: with those who ask in the same turn, or alone."""
        deadline_s = time.monotonic() + self._timeout_s
        if not await self._gather(key, queue):
            return await self._alone(key, queue, member_id)
        answer: asyncio.Future[report_pb2.GetMemberResponse] = asyncio.get_running_loop().create_future()
        queue.waiting.appendleft((member_id, deadline_s, answer))
        self._depart(key)
        return await answer

    async def _apart(self, member_id: str, options: report_pb2.ReportOptions | None) -> report_pb2.GetMemberResponse:
        """One that nobody goes together with."""
        return await self._ask_one(report_pb2.GetMemberRequest(member_id=member_id, options=options), self._timeout_s)

    async def _gather(self, key: bytes, queue: _Queue) -> bool:
        """Waits for the end of this turn; whether others have asked in it. They go along."""
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self._depart(key)
            raise
        queue.due = False
        return bool(queue.waiting)

    async def _alone(self, key: bytes, queue: _Queue, member_id: str) -> report_pb2.GetMemberResponse:
        """Where nothing is under way: by whoever asks, who needs no task for it."""
        queue.flights += 1
        try:
            request = report_pb2.GetMemberRequest(member_id=member_id, options=queue.options)
            return await self._ask_one(request, self._timeout_s)
        finally:
            queue.flights -= 1
            self._depart(key)

    def _depart(self, key: bytes) -> None:
        queue = self._queues.get(key)
        if queue is None:  # a flight that ended in this turn has taken them
            return
        queue.due = False
        while queue.waiting and queue.flights < FLIGHTS_MAX:
            waiters: list[_Waiter] = []
            while queue.waiting and len(waiters) < MEMBERS_A_FLIGHT_MAX:
                waiter = queue.waiting.popleft()
                if not waiter[2].done():  # whoever asked has not left
                    waiters.append(waiter)
            if waiters:
                queue.flights += 1
                self._start(self._fly(key, queue, waiters))
        if not (queue.waiting or queue.flights):
            del self._queues[key]

    def _start(self, flight: Awaitable[None]) -> None:
        task = asyncio.ensure_future(flight)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fly(self, key: bytes, queue: _Queue, waiters: list[_Waiter]) -> None:
        try:
            if len(waiters) == 1:
                await self._singly(queue, waiters[0])
            else:
                await self._together(queue, waiters)
        except asyncio.CancelledError:
            for _, _, answer in waiters:
                answer.cancel()
            raise
        except Exception as error:
            _fail(waiters, error)
        finally:
            queue.flights -= 1
            self._depart(key)

    async def _singly(self, queue: _Queue, waiter: _Waiter) -> None:
        member_id, _, answer = waiter
        request = report_pb2.GetMemberRequest(member_id=member_id, options=queue.options)
        found = await self._ask_one(request, _left_s(waiter))
        if not answer.done():
            answer.set_result(found)

    async def _together(self, queue: _Queue, waiters: list[_Waiter]) -> None:
        request = report_pb2.BatchGetMembersRequest(
            member_ids=[member_id for member_id, _, _ in waiters], options=queue.options
        )
        try:
            # The first to come has the least time left.
            answer = await self._ask_many(request, _left_s(waiters[0]))
        except (DeadlineExceededError, UnavailableError) as error:
            now_s = time.monotonic()
            later = [waiter for waiter in waiters if waiter[1] > now_s and waiter is not waiters[0]]
            queue.waiting.extendleft(reversed(later))
            _fail(waiters[: len(waiters) - len(later)], error)
        except CallError as error:
            if _is_of_one(error):
                await self._each(queue, waiters)
            else:
                _fail(waiters, error)
        else:
            unknown = frozenset(answer.unknown_member_ids)
            known = [waiter for waiter in waiters if waiter[0] not in unknown]
            if len(known) == len(answer.members):
                _hand_out(known, answer)
                for waiter in waiters if unknown else ():
                    if waiter[0] in unknown:
                        _fail([waiter], member_unknown(waiter[0]))
            else:  # whose is which, that answer does not say
                await self._each(queue, waiters)

    async def _each(self, queue: _Queue, waiters: list[_Waiter]) -> None:
        """Each by itself, as part of this flight."""
        ends = await asyncio.gather(*(self._singly(queue, waiter) for waiter in waiters), return_exceptions=True)
        for waiter, error in zip(waiters, ends, strict=True):
            if isinstance(error, Exception):
                _fail([waiter], error)


def _hand_out(waiters: list[_Waiter], answer: report_pb2.BatchGetMembersResponse) -> None:
    # Read anew for each: half of what it costs to copy it.
    head = report_pb2.GetMemberResponse(as_of=answer.as_of).SerializeToString()
    for (_, _, future), member in zip(waiters, answer.members, strict=True):
        if not future.done():
            made = _read_answer(head)
            made.member.CopyFrom(member)
            future.set_result(made)


def _is_of_one(error: CallError) -> bool:
    """Whether a refusal may be due to one of those that a batch asks for: it names that one, or a server has failed."""
    return error.field.startswith("member_ids") or type(error) is CallError


def _left_s(waiter: _Waiter) -> float:
    return max(waiter[1] - time.monotonic(), 0.001)


def _fail(waiters: list[_Waiter], error: Exception) -> None:
    for _, _, answer in waiters:
        if not answer.done():
            answer.set_exception(error)
