"""A pusher's lease at the coordinators: heartbeats out, their word in, on a thread of its own.

Each coordinator has a stream: the active one decides, and those that stand by know who is silent before their turn
comes. Which word counts, its epoch says (leadership.py, rule 2).

A pusher that reads a long log when it takes over holds its event loop up for a while, and must not lose its turn for
that. So the thread repeats the loop's last word, for as long as that is not too old to be true of a loop that lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import threading
from collections.abc import Callable

import uvloop

from fasttree.v1 import coordinator_pb2
from services.pusher.leadership.leadership import Told
from services.shared.backoff import Backoff, Waits
from services.shared.serving.streams import CallStream, StreamError, open_stream

logger = logging.getLogger(__name__)

_METHOD = "/fasttree.v1.CoordinatorService/KeepPusher"
BEAT_S = 0.25
#: A coordinator that answers nothing for so many heartbeats is asked anew over another stream.
_UNANSWERED_MAX = 8
_CONNECT_S_MAX = 1.0
#: One that can't be had is tried again so soon, in seconds: it may be about to be the active one.
_AGAIN_S, _AGAIN_S_MAX = 0.05, 0.25
#: A loop that has said nothing for so long is taken for dead.
LOOP_SILENCE_S_MAX = 10.0
_JOIN_S = 5.0
#: What the end of a stream begins with of a process whose name another one holds.
_NAME_TAKEN = "ALREADY_EXISTS: "


class CoordinatorLink:
    """The streams to all coordinators.

    Args:
        coordinators: host:port of each, with commas between.
        cluster, name: The cluster's name, and this pusher's.
        address: host:port at which clients and nodes reach this pusher.
        status: What it is now; asked on the event loop.
        told: Gets each word of the coordinator's, on the event loop.
    """

    def __init__(
        self,
        coordinators: str,
        cluster: str,
        name: str,
        address: str,
        status: Callable[[], coordinator_pb2.PusherStatus],
        told: Callable[[Told], None],
    ) -> None:
        self._ways = [_Way(self, coordinator) for coordinator in coordinators.split(",")]
        self.address = address
        self._beat = coordinator_pb2.KeepPusherRequest(
            cluster=cluster,
            name=name,
            address=address,
            incarnation=secrets.token_hex(16),
            hears_standbys=len(self._ways) > 1,
        )
        self._status, self._told = status, told
        #: By coordinator: why it refuses this process the pusher's name. The thread writes.
        self._refusals: dict[str, str] = {}
        #: The loop's newest word, and when it was said, by the loop's clock.
        self._word: tuple[coordinator_pb2.PusherStatus, float] | None = None
        self._loop: asyncio.AbstractEventLoop
        self._thread_loop: asyncio.AbstractEventLoop

    @property
    def refusal(self) -> str:
        """That another process holds this pusher's name, and the mend; empty where none does."""
        return next(iter(self._refusals.copy().values()), "")

    async def run(self) -> None:
        """Goes on until it is cancelled."""
        self._loop, self._thread_loop = asyncio.get_running_loop(), uvloop.new_event_loop()
        self._word = (self._status(), self._loop.time())
        keeping = self._thread_loop.create_task(self._keep_on())
        thread = threading.Thread(target=self._live, args=(keeping,), name="lease", daemon=True)
        thread.start()
        try:
            while True:
                await asyncio.sleep(BEAT_S)
                self._word = (self._status(), self._loop.time())
        finally:
            with contextlib.suppress(RuntimeError):
                self._thread_loop.call_soon_threadsafe(keeping.cancel)
            await asyncio.to_thread(thread.join, _JOIN_S)

    def say(self) -> None:
        """What this pusher is has changed: the coordinator hears of it at once. On the event loop."""
        self._word = (self._status(), asyncio.get_running_loop().time())
        with contextlib.suppress(RuntimeError, AttributeError):  # not begun, or ended
            self._thread_loop.call_soon_threadsafe(self._hurry)

    # -- in the thread

    def _live(self, keeping: asyncio.Task[None]) -> None:
        asyncio.set_event_loop(self._thread_loop)
        with contextlib.suppress(asyncio.CancelledError):
            self._thread_loop.run_until_complete(keeping)
        self._thread_loop.close()

    async def _keep_on(self) -> None:
        async with asyncio.TaskGroup() as group:
            for way in self._ways:
                group.create_task(way.keep_on())

    def _hurry(self) -> None:
        for way in self._ways:
            way.wanted.set()

    def next_beat(self) -> bytes | None:
        """The next heartbeat; None where the loop has said nothing for too long."""
        word = self._word
        if word is None or self._loop.time() - word[1] >= LOOP_SILENCE_S_MAX:
            return None
        self._beat.sequence += 1
        self._beat.status.CopyFrom(word[0])
        return self._beat.SerializeToString()

    def note_end(self, coordinator: str, problem: str) -> None:
        """Why a stream ended."""
        if problem.startswith(_NAME_TAKEN):
            self._refusals[coordinator] = problem.removeprefix(_NAME_TAKEN)

    def hear(self, coordinator: str, message: bytes) -> None:
        """A coordinator's answer."""
        self._refusals.pop(coordinator, None)
        answer = coordinator_pb2.KeepPusherResponse.FromString(message)
        told = Told(answer.active, answer.epoch, answer.active_name, answer.active_address, answer.unfit)
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._told, told)


class _Way:
    """The stream to one coordinator, in the thread."""

    def __init__(self, link: CoordinatorLink, coordinator: str) -> None:
        self._link, self._coordinator = link, coordinator
        self._unanswered = 0
        #: A heartbeat is to leave at once.
        self.wanted = asyncio.Event()

    async def keep_on(self) -> None:
        """Until it is cancelled."""
        waits = Waits(Backoff(_AGAIN_S, _AGAIN_S_MAX, random.random))
        told = ""
        while True:
            try:
                await self._keep(waits)
                problem = "it ended the stream"
            except StreamError as error:
                problem = str(error)
            self._link.note_end(self._coordinator, problem)
            if problem != told:
                told = problem
                logger.warning("coordinator %s: %s", self._coordinator, problem)
            await asyncio.sleep(waits.next_s())

    async def _keep(self, waits: Waits) -> None:
        """One stream, to its end. Raises StreamError."""
        self._unanswered = 0
        try:
            async with asyncio.timeout(_CONNECT_S_MAX):
                stream = await open_stream(self._coordinator, _METHOD)
        except TimeoutError:
            raise StreamError(f"no connection within {_CONNECT_S_MAX:g} s") from None
        hearing = asyncio.ensure_future(self._hear(stream, waits))
        hearing.add_done_callback(lambda _: self.wanted.set())
        try:
            while not hearing.done():
                self.wanted.clear()
                if self._unanswered >= _UNANSWERED_MAX:
                    raise StreamError(f"no answer to {_UNANSWERED_MAX} heartbeats")
                if (beat := self._link.next_beat()) is not None:
                    self._unanswered += 1
                    await stream.write(beat)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(BEAT_S):
                        await self.wanted.wait()
            await hearing
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
            await stream.close()

    async def _hear(self, stream: CallStream, waits: Waits) -> None:
        async for message in stream.read():
            waits.reset()
            self._unanswered = 0
            self._link.hear(self._coordinator, message)
