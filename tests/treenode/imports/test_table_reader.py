"""Import files are read by processes of their own: one waits, each reads one file, none is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from services.shared.files.chunks import take_file
from services.shared.files.sealed.keys import new_key_line
from services.shared.files.sealed.own import begin_sealing, keys_to_hand
from services.shared.files.sealed.settings import SealingSettings
from services.treenode.imports import process
from services.treenode.imports.process import Read, ReadMessage, ReadRequest
from services.treenode.imports.reading import ImportLimits, ImportRefusedError, Refusal
from services.treenode.imports.sample_imports import MEMBERS, write_sample_csvs
from services.treenode.imports.table_reader import ReadFailedError, TableReader

DEADLINE_S = 60.0


def request(path: Path) -> ReadRequest:
    """A request for a file of any format, as a node makes it."""
    return ReadRequest(
        path=str(path),
        file_format=0,
        volume_types=["PV"],
        periods=["2026-11"],
        columns={},
        limits=ImportLimits(),
        sealing=keys_to_hand(),
    )


def children() -> set[int]:
    """Processes that this one started and that have not ended."""
    found: set[int] = set()
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):
            found |= set(map(int, Path(f"/proc/self/task/{thread}/children").read_text().split()))
    return found


async def wait_for(condition: Callable[[], bool]) -> None:
    """Waits until the condition holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(spare_after_s: float) -> AsyncIterator[TableReader]:
    """A reader as a node has it."""
    reader = TableReader(spare_after_s)
    keeping = asyncio.ensure_future(reader.run())
    try:
        yield reader
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Runs a test, and sees that no process is left."""
    before = children()

    async def bounded() -> None:
        await asyncio.wait_for(work(), DEADLINE_S)

    asyncio.run(bounded())
    assert children() == before


def test_a_file_is_read_without_a_spare(tmp_path: Path) -> None:
    """The process is started when the file comes."""
    short, *_ = write_sample_csvs(tmp_path)

    async def work() -> None:
        async with running(0) as reader:
            told: list[ReadMessage] = []
            table = await reader.read(request(short), told.append)
            assert len(table) == MEMBERS - 1
            assert told[-1] == Read(rows=MEMBERS - 1)

    run(work)


def test_the_spare_reads_the_file_and_another_takes_its_place(tmp_path: Path) -> None:
    """A file has the process that waited; afterwards another one waits."""
    short, long, _ = write_sample_csvs(tmp_path)
    before = children()

    async def work() -> None:
        async with running(0.01) as reader:
            await wait_for(lambda: reader.has_spare)
            first = children() - before
            assert len(await reader.read(request(short), lambda message: None)) == MEMBERS - 1
            await wait_for(lambda: reader.has_spare)
            assert not first & children()
            assert len((await reader.read(request(long), lambda message: None)).further) == 4

    run(work)


def test_a_spare_that_died_is_replaced(tmp_path: Path) -> None:
    """The file is read all the same."""
    short, *_ = write_sample_csvs(tmp_path)
    before = children()

    async def work() -> None:
        async with running(0.01) as reader:
            await wait_for(lambda: reader.has_spare)
            (spare,) = children() - before
            os.kill(spare, signal.SIGKILL)
            await wait_for(lambda: Path(f"/proc/{spare}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
            assert len(await reader.read(request(short), lambda message: None)) == MEMBERS - 1

    run(work)


def test_a_bad_file_is_refused_with_its_rows(tmp_path: Path) -> None:
    """The reason comes from the other process."""
    *_, bad = write_sample_csvs(tmp_path)

    async def work() -> None:
        async with running(0) as reader:
            with pytest.raises(ImportRefusedError) as refused:
                await reader.read(request(bad), lambda message: None)
            assert refused.value.refusal.rejected_count == 3
            assert {row.line for row in refused.value.refusal.rejected_rows} == {MEMBERS + 1, MEMBERS + 2, MEMBERS + 3}

    run(work)


@pytest.mark.parametrize(
    ("number", "error", "told"),
    [
        (signal.SIGKILL, ReadFailedError, "ended with code -9"),
        # As where a library meets bytes that it takes for granted; another try would end so, too.
        (signal.SIGABRT, ImportRefusedError, r"ended the process .SIGABRT.: its data is damaged"),
    ],
)
def test_a_process_that_ends_fails_its_file_and_nothing_else(
    number: signal.Signals, error: type[Exception], told: str, tmp_path: Path
) -> None:
    """A pipe stands in for the file: the process waits for it until it is ended."""
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    before = children()

    async def work() -> None:
        async with running(0) as reader:
            reading = asyncio.ensure_future(reader.read(request(pipe), lambda message: None))
            await wait_for(lambda: bool(children() - before))
            (child,) = children() - before
            os.kill(child, number)
            with pytest.raises(error, match=told):
                await reading

    run(work)


def test_a_sealed_file_is_read_by_the_keys_that_the_node_has(tmp_path: Path) -> None:
    """Whatever became of its file of keys; a file that can't be opened is told with what it lacks."""
    short, *_ = write_sample_csvs(tmp_path)
    sealed = tmp_path / "sealed.csv"
    file = tmp_path / "state.keys"
    file.write_text(new_key_line("one"))
    file.chmod(0o600)

    async def work() -> None:
        async with running(0) as reader:
            assert len(await reader.read(request(sealed), lambda message: None)) == MEMBERS - 1
            begin_sealing(SealingSettings())
            with pytest.raises(ReadFailedError, match=r"sealed\.csv is sealed by key one, and no keys are named"):
                await reader.read(request(sealed), lambda message: None)

    try:
        begin_sealing(SealingSettings(key_file=str(file)))
        take_file(short, sealed, short.stat().st_size)
        file.unlink()
        run(work)
    finally:
        begin_sealing(SealingSettings())


def test_what_a_library_makes_of_odd_bytes_refuses_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(*_: object) -> None:
        raise KeyError("column")

    monkeypatch.setattr(process, "read_import", fails)
    (tmp_path / "members.parquet").write_bytes(b"PAR1")
    descriptor = os.memfd_create("import")
    try:
        answer = process.read(request(tmp_path / "members.parquet"), descriptor)
    finally:
        os.close(descriptor)
    assert isinstance(answer, Refusal)
    assert answer.reason == (
        "import refused: the file: reading it failed (KeyError): its data is damaged, make it anew"
    )


def test_a_cancelled_reading_leaves_no_process(tmp_path: Path) -> None:
    """As when the call that asked for it ends."""
    short, *_ = write_sample_csvs(tmp_path)
    before = children()

    async def work() -> None:
        async with running(0) as reader:
            reading = asyncio.ensure_future(reader.read(request(short), lambda message: None))
            await wait_for(lambda: bool(children() - before))
            reading.cancel()
            await asyncio.wait({reading})
            assert reading.cancelled()

    run(work)
