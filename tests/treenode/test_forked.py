"""Work in a forked child: it sees one moment, answers, and never outlives its bounds."""

import asyncio
import os
import time

import numpy as np
import pytest

from services.treenode.forked import ForkedWork, ForkedWorkError


async def test_the_child_sees_the_memory_as_it_was_at_the_fork() -> None:
    column = np.zeros(1_000_000, dtype=np.int64)

    def total() -> int:
        time.sleep(0.1)
        return int(column.sum())

    work = ForkedWork(total)
    column += 1
    assert await work.result(10.0) == 0


async def test_an_answer_larger_than_a_pipe() -> None:
    assert len(await ForkedWork(lambda: b"x" * 3_000_000).result(10.0)) == 3_000_000


async def test_what_the_work_raises_is_told() -> None:
    def fail() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(ForkedWorkError, match="No space left on device"):
        await ForkedWork(fail).result(10.0)


async def test_a_child_that_dies_is_told() -> None:
    with pytest.raises(ForkedWorkError, match="died without an answer"):
        await ForkedWork(lambda: os._exit(0)).result(10.0)


async def test_a_child_that_takes_too_long_is_ended() -> None:
    work = ForkedWork(lambda: time.sleep(60))
    with pytest.raises(ForkedWorkError, match=r"longer than 0\.1 s"):
        await work.result(0.1)
    _no_child_is_left()


async def test_a_child_ends_with_whoever_waits_for_it() -> None:
    waiting = asyncio.create_task(ForkedWork(lambda: time.sleep(60)).result(60.0))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    _no_child_is_left()


def _no_child_is_left() -> None:
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


async def test_a_lock_is_not_held_by_the_child() -> None:
    reading, writing = os.pipe()
    work = ForkedWork(lambda: time.sleep(0.2), close_fds=[writing])
    os.close(writing)
    # End of file now: the child holds no copy of the writing end.
    assert os.read(reading, 1) == b""
    os.close(reading)
    await work.result(10.0)
