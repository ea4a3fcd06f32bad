"""Streams that a server answers at once, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol, TypeVar

import grpc

Answer = TypeVar("Answer", covariant=True)


class _Stream(Protocol[Answer]):
    """What a stub's method gives for an answer of many messages."""

    def __aiter__(self) -> AsyncIterator[Answer]: ...

    def cancel(self) -> bool: ...


async def promptly(
    call: _Stream[Answer], first_s: float | None, every_s: float | None = None
) -> AsyncGenerator[Answer, None]:
    """The answers. The first one has to come within `first_s`, each further one within `every_s`; None: whenever.

    Raises:
        grpc.aio.AioRpcError: As the call does; DEADLINE_EXCEEDED where an answer did not come in time.
    """
    answers, left_s = aiter(call), first_s
    try:
        while True:
            try:
                async with asyncio.timeout(left_s):
                    answer = await anext(answers, None)
            except TimeoutError:
                raise broken("no answer in time", grpc.StatusCode.DEADLINE_EXCEEDED) from None
            if answer is None:
                return
            yield answer
            left_s = every_s
    finally:
        call.cancel()


def broken(details: str, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> grpc.aio.AioRpcError:
    """What a call that this end gave up is like to whoever tries again."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details)
