"""Keeps the tree still while a report copies from it in a thread.

One event loop owns the tree. Updates are applied on that loop, in slices; reports of a few members read on it, between
slices, and need nothing from the gate but `settled()`. A report that reads many rows copies them in a thread, and the
tree must not change under that copy. The rules:

1. A writer (a slice of updates, the swap to a new tree, a re-lay) is alone in the gate.
2. Readers share the gate, `readers_max` of them at most: no reader holds the gate while it waits for a thread.
3. Fair: once a writer waits, no further reader goes in before it; once it has left, readers that wait go in first,
   one batch of `readers_max`. So a writer waits for one batch of copies, and a reader for the batches before its own,
   with one slice between two of them.
4. A reader whose call is cancelled holds the gate until its thread has really ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class GateBrokenError(Exception):
    """The gate's own rules do not hold: a fault in the program, never in a request."""


class GateState(NamedTuple):
    """Who is inside, and who waits."""

    #: Copies under way: 0 while a writer is inside.
    readers: int
    #: A writer is inside.
    writing: bool
    #: Readers and writers that wait.
    waiting: int
    readers_max: int

    def validate(self) -> None:
        """Raises GateBrokenError: readers and a writer inside together, too many readers, or one who waits in vain."""
        if self.writing and self.readers:
            raise GateBrokenError(f"a writer and {self.readers} readers are inside together")
        if not 0 <= self.readers <= self.readers_max:
            raise GateBrokenError(f"{self.readers} readers are inside, of {self.readers_max}")
        if self.waiting and not self.writing and not self.readers:
            raise GateBrokenError(f"{self.waiting} wait before an empty gate")


class ReadGate:
    """Many short readers in threads, or one writer. Belongs to one event loop and is used on it only."""

    def __init__(self, readers_max: int = 2) -> None:
        """`readers_max`: copies at the same time, and threads of the gate."""
        if readers_max < 1:
            raise ValueError(f"readers_max is {readers_max}: give 1 or more")
        self._readers_max = readers_max
        self._executor: Executor = ThreadPoolExecutor(readers_max, thread_name_prefix="report-copy")
        self._readers = 0
        self._writing = False
        #: Those who wait, in order of arrival; a future is done once its owner is inside.
        self._reader_queue: deque[asyncio.Future[None]] = deque()
        self._writer_queue: deque[asyncio.Future[None]] = deque()
        #: Done once the present writer has left; None while nobody asked for it.
        self._settled: asyncio.Future[None] | None = None

    @property
    def writing(self) -> bool:
        """A writer is inside: the tree may be between two states."""
        return self._writing

    @property
    def state(self) -> GateState:
        """At this moment."""
        waiting = len(self._reader_queue) + len(self._writer_queue)
        return GateState(self._readers, self._writing, waiting, self._readers_max)

    async def settled(self) -> None:
        """Returns once no writer is inside. What follows on the loop, up to its next await, sees one whole state."""
        while self._writing:
            if self._settled is None:
                self._settled = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._settled)

    async def read(self, work: Callable[[], T]) -> T:
        """Runs `work` in a thread with the tree held still; its result, or its exception."""
        return await self.read_begun(lambda: work)

    async def read_begun(self, begin: Callable[[], Callable[[], T]]) -> T:
        """As `read`, with work that `begin` makes: it is called on the loop when the tree is held still already, so
        what it notes there (the tree, its position) is what the work will see."""
        await self._enter_reader()
        try:
            running = asyncio.get_running_loop().run_in_executor(self._executor, begin())
        except BaseException:
            self._leave_reader()
            raise
        running.add_done_callback(self._reader_done)
        # Shielded: a cancelled call must not free the gate under a thread that still copies (rule 4).
        return await asyncio.shield(running)

    def write(self) -> WriteTurn:
        """`async with gate.write(): …`: alone with the tree. Does not suspend when nobody reads."""
        return WriteTurn(self)

    def close(self) -> None:
        """Ends the threads once they are done."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _enter_reader(self) -> None:
        if not self._writing and not self._writer_queue and self._readers < self._readers_max:
            self._readers += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader_queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._leave_reader()
            raise

    def _reader_done(self, running: asyncio.Future[T]) -> None:
        if not running.cancelled():
            running.exception()  # The caller may be gone: its exception is not "never retrieved".
        self._leave_reader()

    def _leave_reader(self) -> None:
        self._readers -= 1
        self._next_turn(readers_first=False)

    async def _enter_writer(self) -> None:
        if not self._writing and self._readers == 0:
            self._writing = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writer_queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                # Readers may have waited behind this writer only.
                self._next_turn(readers_first=False)
            else:
                self._leave_writer()
            raise

    def _leave_writer(self) -> None:
        self._writing = False
        if self._settled is not None:
            self._settled.set_result(None)
            self._settled = None
        self._next_turn(readers_first=True)

    def _next_turn(self, *, readers_first: bool) -> None:
        """Lets in whoever may go in now."""
        for queue in (self._reader_queue, self._writer_queue):
            for turn in [turn for turn in queue if turn.cancelled()]:
                queue.remove(turn)
        if self._writing:
            return
        if readers_first or not self._writer_queue:
            while self._reader_queue and self._readers < self._readers_max:
                self._readers += 1
                self._reader_queue.popleft().set_result(None)
        if self._writer_queue and self._readers == 0:
            self._writing = True
            self._writer_queue.popleft().set_result(None)


class WriteTurn:
    """One writer's turn in the gate; a context manager."""

    def __init__(self, gate: ReadGate) -> None:
        self._gate = gate

    async def __aenter__(self) -> None:
        await self._gate._enter_writer()

    async def __aexit__(self, *_: object) -> None:
        self._gate._leave_writer()
