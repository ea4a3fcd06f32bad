"""Reports: every question that a tree node answers, through the VIP or from one node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable
from dataclasses import replace
from typing import Any, Protocol, TypeAlias, TypeVar

import grpc

from fasttree.client.calls.channels import Channels
from fasttree.client.calls.coalescing import Coalescer
from fasttree.client.calls.retries import Retries, may_retry, with_retries
from fasttree.client.errors import DeadlineExceededError, StreamInterruptedError, call_error
from fasttree.v1 import report_pb2, report_pb2_grpc

Request = TypeVar("Request", contravariant=True)
Answer = TypeVar("Answer", covariant=True)


_StreamCall: TypeAlias = grpc.aio.UnaryStreamCall[report_pb2.StreamDownlineRequest, report_pb2.StreamDownlineResponse]
_Begun: TypeAlias = tuple[
    _StreamCall, AsyncIterator[report_pb2.StreamDownlineResponse], report_pb2.StreamDownlineResponse | None
]


class _Unary(Protocol[Request, Answer]):
    def __call__(self, request: Request, /, *, timeout: float | None = None) -> Awaitable[Answer]: ...


class PositionSeen:
    """The newest position that the client pushed: with `read_your_writes`, every report waits for it."""

    def __init__(self, *, read_your_writes: bool) -> None:
        self.position = 0
        self._read_your_writes = read_your_writes

    def saw(self, position: int) -> None:
        self.position = max(self.position, position)

    def min_position(self, asked: int) -> int:
        """What to ask a node to wait for."""
        return asked or (self.position if self._read_your_writes else 0)


class Reports:
    """The ReportService behind one address. Options that all take: fasttree.v1.ReportOptions; `as_of_period` among them
    asks for the tree as it was when that period was closed for good.

    Each call is retried while that is safe and its deadline allows (see `retries`), and raises a CallError.
    """

    def __init__(
        self,
        channels: Channels,
        address: str,
        retries: Retries,
        seen: PositionSeen,
        *,
        coalesce: bool = True,
    ) -> None:
        self._stub: report_pb2_grpc.ReportServiceAsyncStub = report_pb2_grpc.ReportServiceStub(channels.to(address))
        self._loop = channels.loop
        self._address = address
        self._retries = retries
        self._seen = seen
        self._coalescer = Coalescer(self._get_one, self._get_many, retries.timeout_s) if coalesce else None

    async def get_member(
        self, member_id: str, *, options: report_pb2.ReportOptions | None = None
    ) -> report_pb2.GetMemberResponse:
        """One member. NotFoundError: there is none of that id. Those that are asked for at one time are fetched
        together (`fasttree.client.calls.coalescing`)."""
        self._loop.check()
        if not isinstance(member_id, str):
            raise _no_text(member_id)
        asked = None if options is None and not self._seen.min_position(0) else self._options(options)
        if self._coalescer is not None:
            return await self._coalescer.get(member_id, asked)
        request = report_pb2.GetMemberRequest(member_id=member_id, options=asked)
        return await self._call(self._stub.GetMember, request, "GetMember")

    async def batch_get_members(
        self, member_ids: Iterable[str], *, options: report_pb2.ReportOptions | None = None
    ) -> report_pb2.BatchGetMembersResponse:
        """Up to 10,000 members in the order asked; unknown ones apart."""
        if isinstance(member_ids, str):
            raise TypeError(f"member_ids are several, such as [{member_ids[:40]!r}], not one text")
        member_ids = list(member_ids)
        for member_id in member_ids:
            if not isinstance(member_id, str):
                raise _no_text(member_id)
        request = report_pb2.BatchGetMembersRequest(member_ids=member_ids, options=self._options(options))
        return await self._call(self._stub.BatchGetMembers, request, "BatchGetMembers")

    async def list_upline(
        self,
        member_id: str,
        *,
        to_member_id: str = "",
        options: report_pb2.ReportOptions | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> report_pb2.ListUplineResponse:
        """One page of those above, nearest first: 1,000 where no `page_size` is given, 10,000 at most."""
        request = report_pb2.ListUplineRequest(
            member_id=member_id,
            to_member_id=to_member_id,
            options=self._options(options),
            page_size=page_size,
            page_token=page_token,
        )
        return await self._call(self._stub.ListUpline, request, "ListUpline")

    async def list_front_line(self, request: report_pb2.ListFrontLineRequest) -> report_pb2.ListFrontLineResponse:
        """One page of direct children, each with its leg's totals."""
        return await self._ask(self._stub.ListFrontLine, request, "ListFrontLine")

    async def summarize_downline(
        self, request: report_pb2.SummarizeDownlineRequest
    ) -> report_pb2.SummarizeDownlineResponse:
        """Members and volume by level, status, rank, kind."""
        return await self._ask(self._stub.SummarizeDownline, request, "SummarizeDownline")

    async def list_downline(self, request: report_pb2.ListDownlineRequest) -> report_pb2.ListDownlineResponse:
        """One page of a filtered, sorted downline."""
        return await self._ask(self._stub.ListDownline, request, "ListDownline")

    async def search_members(
        self, prefix: str, *, limit: int = 0, options: report_pb2.ReportOptions | None = None
    ) -> report_pb2.SearchMembersResponse:
        """Members whose id begins so."""
        request = report_pb2.SearchMembersRequest(prefix=prefix, limit=limit, options=self._options(options))
        return await self._call(self._stub.SearchMembers, request, "SearchMembers")

    async def list_holding_tank(self, request: report_pb2.ListHoldingTankRequest) -> report_pb2.ListHoldingTankResponse:
        """One page of members without a placement."""
        return await self._ask(self._stub.ListHoldingTank, request, "ListHoldingTank")

    async def list_held_updates(
        self,
        *,
        limit: int = 0,
        min_position: int = 0,
        member_id: str = "",
        update_id_prefix: str = "",
        page_token: str = "",
        as_of_period: str = "",
    ) -> report_pb2.ListHeldUpdatesResponse:
        """One page of the updates that wait: for any member, or for one; all, or those whose id begins so.

        `as_of_period`: those that waited when that period was closed for good.
        """
        request = report_pb2.ListHeldUpdatesRequest(
            limit=limit,
            min_position=self._seen.min_position(min_position),
            member_id=member_id,
            update_id_prefix=update_id_prefix,
            page_token=page_token,
            as_of_period=as_of_period,
        )
        return await self._call(self._stub.ListHeldUpdates, request, "ListHeldUpdates")

    async def list_rejected_updates(
        self,
        *,
        limit: int = 0,
        min_position: int = 0,
        update_id_prefix: str = "",
        page_token: str = "",
        as_of_period: str = "",
    ) -> report_pb2.ListRejectedUpdatesResponse:
        """One page of the updates that were refused, the newest first: all, or those whose id begins so; those of
        before a period was closed for good."""
        request = report_pb2.ListRejectedUpdatesRequest(
            limit=limit,
            min_position=self._seen.min_position(min_position),
            update_id_prefix=update_id_prefix,
            page_token=page_token,
            as_of_period=as_of_period,
        )
        return await self._call(self._stub.ListRejectedUpdates, request, "ListRejectedUpdates")

    async def describe_tree(self, *, min_position: int = 0, as_of_period: str = "") -> report_pb2.DescribeTreeResponse:
        """Columns, volume types, periods, counts: now, or when a period was closed for good."""
        request = report_pb2.DescribeTreeRequest(
            min_position=self._seen.min_position(min_position), as_of_period=as_of_period
        )
        return await self._call(self._stub.DescribeTree, request, "DescribeTree")

    async def stream_downline(
        self, request: report_pb2.StreamDownlineRequest
    ) -> AsyncIterator[report_pb2.StreamDownlineResponse]:
        """A whole downline in tree order, as of one position.

        It is asked again as long as nothing has come yet; once rows have come, a break raises StreamInterruptedError,
        because another attempt would be as of another position. The deadline holds for the first rows only.
        """
        self._loop.check()
        request.options.CopyFrom(self._options(request.options))
        call, answers, first = await with_retries(
            lambda left_s: self._first(request, left_s), self._retries, called="StreamDownline", address=self._address
        )
        try:
            if first is None:
                return
            yield first
            async for answer in answers:
                yield answer
        except grpc.aio.AioRpcError as error:
            cause = call_error(error, "StreamDownline", self._address)
            if not may_retry(error):
                raise cause from error
            raise StreamInterruptedError(f"the report broke off before its end ({cause}); run it again") from error
        finally:
            call.cancel()  # whoever leaves early frees the node's copy of the rows at once

    async def _first(self, request: report_pb2.StreamDownlineRequest, left_s: float) -> _Begun:
        """The call, its answers, and the first of them (None where there is none)."""
        call: _StreamCall = self._stub.StreamDownline(request)
        answers = aiter(call)
        try:
            async with asyncio.timeout(left_s):
                return call, answers, await anext(answers, None)
        except TimeoutError:
            call.cancel()
            raise DeadlineExceededError(
                f"no first row from {self._address} in time; ask again, or allow more with a longer timeout"
            ) from None
        except BaseException:
            call.cancel()
            raise

    def _options(self, options: report_pb2.ReportOptions | None) -> report_pb2.ReportOptions:
        made = report_pb2.ReportOptions()
        if options is not None:
            made.CopyFrom(options)
        made.min_position = self._seen.min_position(made.min_position)
        return made

    async def _ask(self, method: _Unary[Any, Answer], request: Any, called: str) -> Answer:
        request.options.CopyFrom(self._options(request.options))
        return await self._call(method, request, called)

    async def _get_one(self, request: report_pb2.GetMemberRequest, left_s: float) -> report_pb2.GetMemberResponse:
        return await self._call(self._stub.GetMember, request, "GetMember", left_s)

    async def _get_many(
        self, request: report_pb2.BatchGetMembersRequest, left_s: float
    ) -> report_pb2.BatchGetMembersResponse:
        return await self._call(self._stub.BatchGetMembers, request, "BatchGetMembers", left_s)

    async def _call(
        self, method: _Unary[Request, Answer], request: Request, called: str, timeout_s: float | None = None
    ) -> Answer:
        self._loop.check()
        retries = self._retries if timeout_s is None else replace(self._retries, timeout_s=timeout_s)
        return await with_retries(
            lambda left_s: method(request, timeout=left_s),
            retries,
            called=called,
            address=self._address,
        )


def _no_text(member_id: object) -> TypeError:
    return TypeError(f'a member id is text, such as "10420", not {member_id!r:.60}')
