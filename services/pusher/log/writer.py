"""The one thread that writes the log: pushes that arrive together share one fsync (`group_commit.py`).

Everything that changes the store goes through this thread, in order. While it waits for the disk, further pushes
gather.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar

from services.pusher.log.frames import Run
from services.pusher.log.group_commit import NOBODY, Committed, NotStored, Push, Results, RulesInForce, WriteQueue
from services.pusher.log.store import Appended, LogStore
from services.shared.telemetry.histograms import Histogram

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

_COMMIT_UPDATES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000)
_COMMIT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)

#: A thread that computes lets others in after this time; the default of 5 ms would be the writer's delay after each
#: fsync.
_SWITCH_INTERVAL_S = 0.0005


@dataclass(frozen=True, slots=True)
class _Task:
    """Another write than a push."""

    call: Callable[[], Any]
    done: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _OwnRecord:
    """A record that the pusher itself writes into the log."""

    push: Push[bytes]
    done: asyncio.Future[Appended]


class LogWriter:
    """Writes to a store on a thread of its own.

    Args:
        store: Nobody else may write to it.
        group_updates_max: Most updates in one commit.
        door: The rules at the log's end.
        tell: Gets, on the event loop and in order, what became of each commit's pushes (`Committed`), then its new
            records (a `Run`), if it has any.
    """

    def __init__(
        self, store: LogStore, group_updates_max: int, door: RulesInForce[bytes], tell: Callable[[object], None]
    ) -> None:
        self._store = store
        self._tell = tell
        self._inbox: SimpleQueue[Push[bytes] | _OwnRecord | _Task | None] = SimpleQueue()
        #: The thread's own; None in it: the end.
        self._waiting: WriteQueue[bytes, _OwnRecord | _Task | None] = WriteQueue(group_updates_max, door)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        #: Commits of updates so far; with the updates in them, says how well fsyncs are shared.
        self.commits = 0
        #: Updates in each, and how long it took.
        self.commit_updates, self.commit_s = Histogram(_COMMIT_UPDATES), Histogram(_COMMIT_S)
        #: Why the store's housekeeping failed the last time; the thread's own.
        self._upkeep_problem = ""

    @property
    def queue_length(self) -> int:
        """Writes that wait for the thread."""
        return self._inbox.qsize()

    def start(self) -> None:
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        self._thread.start()

    def append(self, push: Push[bytes]) -> None:
        """Makes updates durable, after those of earlier calls. `Committed` says what became of the push's number."""
        self._inbox.put(push)

    async def append_own(self, update_id: str, content: bytes) -> Appended:
        """Makes a record of the pusher's own durable, in its turn, where the rules take it. Everyone hears of it before
        this returns.

        Raises:
            LogStoreError: It was not stored.
        """
        done: asyncio.Future[Appended] = self._loop.create_future()
        self._inbox.put(_OwnRecord(Push(NOBODY, [update_id], [content], to_judge=True), done))
        return await done

    async def run(self, call: Callable[[], Result]) -> Result:
        """Runs something else that writes to the store, in its turn."""
        done: asyncio.Future[Result] = self._loop.create_future()
        self._inbox.put(_Task(call, done))
        return await done

    async def look(self) -> None:
        """Writes what time has made due, though nothing else is to be written."""
        await self.run(lambda: None)

    async def stop(self) -> None:
        """Ends the thread once everything that was asked for is done."""
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)

    # -- on the thread

    def _run(self) -> None:
        while True:
            if not self._waiting:
                self._waiting.put(self._inbox.get())
            while not self._inbox.empty():
                self._waiting.put(self._inbox.get_nowait())
            write = self._waiting.next()
            if write is None:
                return
            if isinstance(write, _Task):
                self._do_task(write)
            elif isinstance(write, _OwnRecord):
                self._store_own(write)
            else:
                self._commit(write)
            self._tend()

    def _tend(self) -> None:
        """What fails here loses nothing, and may do better after the next write; it is said once."""
        try:
            self._store.tend()
        except Exception as error:
            if str(error) != self._upkeep_problem:
                logger.exception("the log can't be tended")
            self._upkeep_problem = str(error)
        else:
            self._upkeep_problem = ""

    def _do_task(self, task: _Task) -> None:
        try:
            result = task.call()
        except Exception as error:
            self._loop.call_soon_threadsafe(_finish, task.done, None, error)
        else:
            self._loop.call_soon_threadsafe(_finish, task.done, result, None)

    def _commit(self, group: list[Push[bytes]]) -> None:
        begun_s = time.perf_counter()
        appended, results = self._waiting.commit(group, self._store.append)
        if appended is not None:
            self.commits += 1
            trace_id = next((traced.context.trace_id for push in group for traced in push.traced), 0)
            self.commit_s.note(time.perf_counter() - begun_s, trace_id)
            self.commit_updates.note(len(appended.positions), trace_id)
        if group[0].number == NOBODY:
            _log_due(group[0], results)
            results = []
        if results or (appended is not None and appended.run is not None):
            self._loop.call_soon_threadsafe(self._committed, results, appended.run if appended is not None else None)

    def _store_own(self, own: _OwnRecord) -> None:
        _, ((_, result),) = self._waiting.commit([own.push], self._store.append)
        if isinstance(result, NotStored):
            self._loop.call_soon_threadsafe(_finish, own.done, None, result.error)
        else:
            self._loop.call_soon_threadsafe(self._stored_own, own, result)

    # -- on the event loop

    def _committed(self, results: Results, run: Run | None) -> None:
        self._tell(Committed(results))
        if run is not None:
            self._tell(run)

    def _stored_own(self, own: _OwnRecord, appended: Appended) -> None:
        if appended.run is not None:
            self._tell(appended.run)
        _finish(own.done, appended, None)


def _log_due(push: Push[bytes], results: Results) -> None:
    for _, result in results:
        if isinstance(result, NotStored):
            logger.error("%s can't be recorded: %s; tries again", ", ".join(push.update_ids), result.error)
        else:
            for index, reason in result.refusals.items():
                logger.warning("%s is refused: %s", push.update_ids[index], reason)


def _finish(done: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if done.done():
        return  # the caller has gone
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
