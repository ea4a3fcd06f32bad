"""Work on an open file ends before whoever asked for it goes on."""

from __future__ import annotations

import asyncio
import threading

import pytest

from services.shared.files.threads import in_thread


async def test_it_gives_what_the_function_gives() -> None:
    assert await in_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 7, 0)


@pytest.mark.parametrize("cancellations", [1, 3])
@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancelled_caller_goes_on_when_the_work_has_ended(cancellations: int, fails: bool) -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(20)
        ended.set()
        if fails:
            raise OSError("the disk")

    task = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(begun.wait, 20)
    for _ in range(cancellations):
        task.cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
