"""A stream of grpcio's server lasts no longer than who opened it counts: nothing else there ends one with a status."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

#: How often it is looked, in seconds.
LOOK_S = 1.0

#: Raises where the call has to end.
Look = Callable[[], Awaitable[None]]
ResultT = TypeVar("ResultT")


async def awaited(work: Coroutine[Any, Any, ResultT], look: Look) -> ResultT:
    """What comes of the work, which has a task of its own; `look` has its turn while it goes on."""
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait([task], timeout=LOOK_S))[0]:
            await look()
        return task.result()
    finally:
        await _end(task)


async def iterated(answers: AsyncIterator[Any], look: Look) -> AsyncIterator[Any]:
    """The answers, which come from a task of their own; `look` has its turn between them and while none comes."""
    loop, room = asyncio.get_running_loop(), asyncio.Queue[Any](1)

    async def hand_on() -> None:
        async for answer in answers:
            await room.put(answer)

    task, taking = asyncio.create_task(hand_on()), asyncio.create_task(room.get())
    due_s = loop.time() + LOOK_S
    try:
        while True:
            await asyncio.wait(
                [task, taking], timeout=max(0.0, due_s - loop.time()), return_when=asyncio.FIRST_COMPLETED
            )
            if loop.time() >= due_s:
                await look()
                due_s = loop.time() + LOOK_S
            if taking.done():
                yield taking.result()
                taking = asyncio.create_task(room.get())
            elif task.done() and room.empty():
                task.result()
                return
    finally:
        await _end(taking)
        await _end(task)


async def _end(task: asyncio.Task[Any]) -> None:
    """It is cancelled where it goes on, and over when this returns."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # whoever waited for it has it, or has left
