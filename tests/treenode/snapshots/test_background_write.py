"""Writing from a forked child: it sees one moment, and tells how it went."""

import asyncio
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from services.treenode.snapshots.background_write import BackgroundWrite, BackgroundWriteError, warm_up


def children() -> set[int]:
    """Processes that this one has started and not waited for; other tests may have some that go on."""
    return {int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


def opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT)


async def test_the_file_gets_the_memory_as_it_was_at_the_fork(tmp_path: Path) -> None:
    column = np.arange(3_000_000, dtype=np.int64)
    flags = np.arange(100, dtype=np.uint8)
    descriptor = opened(tmp_path / "file")
    writing = BackgroundWrite(descriptor, [(column, 64), (flags, 64 + column.nbytes), (flags[:0], 0)])
    column += 1
    flags[:] = 7
    await writing.finished(60.0)
    os.close(descriptor)
    data = (tmp_path / "file").read_bytes()
    np.testing.assert_array_equal(np.frombuffer(data, np.int64, len(column), 64), np.arange(3_000_000))
    np.testing.assert_array_equal(np.frombuffer(data, np.uint8, 100, 64 + column.nbytes), np.arange(100))


async def test_what_the_disk_says_is_told(tmp_path: Path) -> None:
    column = np.arange(1_000, dtype=np.int64)
    descriptor = os.open("/dev/full", os.O_RDWR)
    with pytest.raises(BackgroundWriteError, match="No space left") as error:
        await BackgroundWrite(descriptor, [(column, 0)]).finished(60.0)
    assert error.value.errno == errno.ENOSPC
    os.close(descriptor)
    with pytest.raises(BackgroundWriteError, match="Bad file descriptor"):
        await BackgroundWrite(descriptor, [(column, 0)]).finished(60.0)


async def test_a_write_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    column = np.zeros(200_000_000, dtype=np.uint8)
    descriptor = opened(tmp_path / "file")
    with pytest.raises(BackgroundWriteError, match="was ended"):
        await BackgroundWrite(descriptor, [(column, 0)]).finished(0.0)
    os.close(descriptor)


async def test_a_write_ends_with_whoever_waits_for_it(tmp_path: Path) -> None:
    descriptor = opened(tmp_path / "file")
    writing = BackgroundWrite(descriptor, [(np.zeros(200_000_000, dtype=np.uint8), 0)])
    waiting = asyncio.create_task(writing.finished(60.0))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    os.close(descriptor)


def test_warming_up_leaves_nothing() -> None:
    warm_up()
