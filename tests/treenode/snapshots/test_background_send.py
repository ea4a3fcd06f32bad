"""Sending from a forked child: a pipe gets one moment, and ends with the child."""

from __future__ import annotations

import asyncio
import os

import numpy as np
import pytest

from services.treenode.snapshots.background_send import BackgroundSend, warm_up
from services.treenode.snapshots.background_write import BackgroundWriteError


def all_of(pipe: int) -> bytes:
    with os.fdopen(pipe, "rb") as file:
        return file.read()


async def test_the_pipe_gets_the_memory_as_it_was_at_the_fork() -> None:
    column, flags = np.arange(300_000, dtype=np.int64), np.arange(100, dtype=np.uint8)
    wanted = column.tobytes() + flags.tobytes()
    pipe, into = os.pipe()
    sending = BackgroundSend(into, [column, flags, flags[:0]])
    os.close(into)
    column += 1
    flags[:] = 7
    read = asyncio.create_task(asyncio.to_thread(all_of, pipe))
    await sending.finished(60.0)
    assert await read == wanted


async def test_one_that_nobody_reads_is_ended() -> None:
    pipe, into = os.pipe()
    sending = BackgroundSend(into, [np.zeros(10_000_000, dtype=np.uint8)])
    os.close(into)
    sending.end()
    with pytest.raises(BackgroundWriteError, match="ended by signal 9"):
        await sending.finished(60.0)
    os.close(pipe)


async def test_one_that_takes_too_long_is_ended() -> None:
    pipe, into = os.pipe()
    sending = BackgroundSend(into, [np.zeros(10_000_000, dtype=np.uint8)])
    os.close(into)
    with pytest.raises(BackgroundWriteError, match="was ended"):
        await sending.finished(0.0)
    os.close(pipe)


async def test_what_the_system_says_is_told() -> None:
    pipe, into = os.pipe()
    os.close(pipe)
    sending = BackgroundSend(into, [np.zeros(10, dtype=np.uint8)])
    os.close(into)
    with pytest.raises(BackgroundWriteError, match="Broken pipe"):
        await sending.finished(60.0)


def test_warming_up_leaves_nothing() -> None:
    warm_up()
