"""Coroutines that run at once, and the task that takes over where one has to wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

from services.shared.serving.http2.eager import Eager

said: ContextVar[str] = ContextVar("said", default="")


async def run(make: Callable[[Eager], Coroutine[Any, Any, None]]) -> tuple[Eager, bool]:
    """Runs one from a callback of the loop, as a server does."""
    loop = asyncio.get_running_loop()
    ran: asyncio.Future[tuple[Eager, bool]] = loop.create_future()

    def call() -> None:
        eager = Eager()
        try:
            ran.set_result((eager, eager.run(make(eager), loop)))
        except Exception as error:
            ran.set_exception(error)

    loop.call_soon(call)
    return await ran


async def test_what_never_waits_ends_at_once_and_has_no_task() -> None:
    seen = []

    async def quick(eager: Eager) -> None:
        current: Any = asyncio.current_task()
        seen.append(current is eager)

    eager, ended = await run(quick)
    assert ended
    assert eager.task is None
    assert seen == [True]


async def test_an_error_comes_at_once() -> None:
    async def failing(_eager: Eager) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await run(failing)


async def test_a_task_goes_on_from_where_it_waits() -> None:
    steps = []

    async def slow(_eager: Eager) -> None:
        steps.append("begun")
        await asyncio.sleep(0)
        steps.append("went on")
        await asyncio.sleep(0.001)
        with contextlib.suppress(KeyError):
            await asyncio.gather(failing(), asyncio.sleep(0.001))
        steps.append("ended")

    async def failing() -> None:
        raise KeyError

    eager, ended = await run(slow)
    assert not ended
    assert eager.task is not None
    await eager.task
    assert steps == ["begun", "went on", "ended"]


async def test_a_timeout_set_before_the_first_wait_ends_it() -> None:
    ends = []

    async def slow(_eager: Eager) -> None:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            ends.append("timed out")
        await asyncio.sleep(0)
        ends.append("went on")

    eager, _ = await run(slow)
    assert eager.task is not None
    await eager.task
    assert ends == ["timed out", "went on"]
    assert eager.cancelling() == 0


async def test_a_group_of_tasks_before_the_first_wait() -> None:
    async def grouped(_eager: Eager) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0.001))
            group.create_task(asyncio.sleep(0.002))

    eager, _ = await run(grouped)
    assert eager.task is not None
    await eager.task


@pytest.mark.parametrize("steps", [0, 1, 3])
async def test_cancelled_before_or_after_its_task_has_begun(steps: int) -> None:
    ends = []
    inner = asyncio.get_running_loop().create_future()

    async def waiting(_eager: Eager) -> None:
        try:
            await inner
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    eager, _ = await run(waiting)
    assert eager.task is not None
    for _ in range(steps):
        await asyncio.sleep(0)
    eager.cancel()
    with pytest.raises(asyncio.CancelledError):
        await eager.task
    assert ends == ["cancelled"]
    assert inner.cancelled()


async def test_cancelled_by_itself_before_it_waits() -> None:
    async def cancelling(eager: Eager) -> None:
        eager.cancel()
        await asyncio.sleep(10)

    eager, _ = await run(cancelling)
    assert eager.task is not None
    with pytest.raises(asyncio.CancelledError):
        await eager.task


async def test_what_one_sets_in_its_context_stays_there() -> None:
    seen = []

    async def speaking(_eager: Eager) -> None:
        said.set("hello")
        await asyncio.sleep(0)
        seen.append(said.get())

    eager, _ = await run(speaking)
    assert said.get() == ""
    assert eager.task is not None
    await eager.task
    assert seen == ["hello"]
