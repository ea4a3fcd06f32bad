"""Disk work off the event loop, that nobody leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


async def in_thread(
    function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Result:
    """Runs it in a thread, and comes back once it has ended: cancelled or not.

    For what is done to an open file. `asyncio.to_thread` would leave the thread behind at a cancellation, to write to a
    file that is closed by then, or to another one that has its descriptor.
    """
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError as error:
            cancelled = error
        except BaseException:
            break
    if cancelled is not None:
        work.exception()  # nobody else will look
        raise cancelled
    return work.result()
