"""Places for streams: one too many waits for its turn a while, in order of arrival."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator

import pytest

from services.shared.serving.errors import ResourceExhaustedError
from services.treenode.reports.limits import ReportLimits
from services.treenode.reports.streams import streams
from services.treenode.reports.streams.streams import Begun, InThread, Streams


def now() -> InThread:
    """In place of threads."""

    def call(work: Callable[[], bytes | None]) -> asyncio.Future[bytes | None]:
        done: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        done.set_result(work())
        return done

    return call


def pieces() -> Generator[bytes]:
    yield b"1"
    yield b"2"


async def begin() -> Begun:
    return b"head ", pieces()


async def whole(messages: AsyncGenerator[bytes]) -> list[bytes]:
    return [message async for message in messages]


async def test_who_finds_no_place_has_the_next_one_that_is_free() -> None:
    places = Streams(ReportLimits(streams_max=1), now())
    first = places.messages(begin)
    assert await anext(first) == b"head 1"
    second, third = (asyncio.ensure_future(whole(places.messages(begin))) for _ in range(2))
    await asyncio.sleep(0)
    assert (places.count, second.done(), third.done()) == (1, False, False)
    await first.aclose()
    assert list(await asyncio.wait_for(asyncio.gather(second, third), 30)) == [[b"head 1", b"2"]] * 2
    assert places.count == 0


async def test_a_wait_that_is_too_long_is_a_refusal_with_a_time_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "WAIT_S_MAX", 0.01)
    places = Streams(ReportLimits(streams_max=1), now())
    first = places.messages(begin)
    await anext(first)
    with pytest.raises(ResourceExhaustedError, match="1 stream is under way") as refused:
        await whole(places.messages(begin))
    assert (refused.value.reason, refused.value.retry_after_s) == ("TOO_MANY_STREAMS", 1.0)
    await first.aclose()
    assert await whole(places.messages(begin)) == [b"head 1", b"2"]
    assert places.count == 0


async def test_where_many_wait_one_more_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "WAITING_MAX", 2)
    places = Streams(ReportLimits(streams_max=1), now())
    first = places.messages(begin)
    await anext(first)
    waiting = [asyncio.ensure_future(whole(places.messages(begin))) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhaustedError, match="2 wait"):
        await whole(places.messages(begin))
    waiting[0].cancel()
    await asyncio.gather(waiting[0], return_exceptions=True)
    await first.aclose()
    assert await asyncio.wait_for(waiting[1], 30) == [b"head 1", b"2"]
    assert places.count == 0
