"""The node's side of KeepAlive: a heartbeat every quarter of a second, and at once when something changed.

A thread with an event loop of its own keeps the stream, so that a node's loop which is held up for a moment costs no
role: what the node is changes on that loop alone, so what it last said of itself is still true. The thread asks the
node's loop for its word before each heartbeat and waits for it a moment; where none comes, the last one is sent again,
with the time that it is of (role.py, rule 8). A loop that says nothing for `loop_silence_s_max` is taken for dead: then
no heartbeat leaves, and the lease ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import uvloop

from fasttree.v1 import coordinator_pb2
from services.shared.backoff import Backoff, Waits
from services.shared.membership.turns import Turns
from services.shared.serving.streams import CallStream, StreamError, open_stream
from services.treenode.node.role import HeartbeatSent, LeaseAnswered, OthersReady, Vouched
from services.treenode.node.runner import NodeRunner, now_s
from services.treenode.vouching import Asker, Vouching

BACKOFF_INITIAL_S = 0.05
BACKOFF_MAX_S = 1.0
#: Of several coordinators one is about to be active: a primary's place hangs on finding it soon.
_BACKOFF_OF_SEVERAL_S_MAX = 0.25
#: A coordinator that answers nothing for so many heartbeats is asked anew over another stream.
UNANSWERED_MAX = 8
#: A loop that is not held up answers within a fraction of this.
ASK_S = 0.05
#: The largest delay of the loop is told over so many heartbeats.
DELAYS_KEPT = 240
#: A coordinator that can be reached at all takes a connection within this.
CONNECT_S_MAX = 1.0
#: What the thread has to end in.
_JOIN_S = 5.0
_KEEP_ALIVE = "/fasttree.v1.CoordinatorService/KeepAlive"

logger = logging.getLogger(__name__)


def lease_answered(answer: coordinator_pb2.KeepAliveResponse) -> LeaseAnswered:
    """The answer, as the node's core takes it."""
    others = answer.others_ready
    return LeaseAnswered(
        answer.sequence,
        answer.role == coordinator_pb2.ROLE_PRIMARY,
        answer.epoch,
        answer.lease_ms / 1_000,
        OthersReady(others.complete, others.import_id, others.position) if answer.HasField("others_ready") else None,
    )


@dataclass(frozen=True, slots=True)
class _Word:
    """What the loop said of the node, and when."""

    status: coordinator_pb2.NodeStatus
    made_at_s: float


class Heartbeat:
    """Keeps the node's lease with the coordinator."""

    def __init__(self, node: NodeRunner, coordinator: str, address: coordinator_pb2.NodeAddress) -> None:
        self._node = node
        self._coordinators = Turns(coordinator)
        self._address = address
        self._incarnation = secrets.token_hex(16)
        self._are_several = "," in coordinator
        asker = Asker(node.cluster.name, address.name, self._incarnation)
        self._vouching = Vouching(coordinator, asker, self._epoch_in_doubt, self._hear_vouched)
        self._sequence = 0
        self._unanswered = 0
        #: The node's loop, and the thread's.
        self._loop: asyncio.AbstractEventLoop
        self._thread_loop: asyncio.AbstractEventLoop
        self._failed: asyncio.Future[None]
        #: The node's newest word; None before the first. Both loops have it, neither changes it.
        self._word: _Word | None = None
        #: On the thread's loop: set by each word; and when a heartbeat is to leave before its time.
        self._spoken, self._wanted = asyncio.Event(), asyncio.Event()
        self._delays_s: deque[float] = deque([0.0], DELAYS_KEPT)
        #: In the thread: when each heartbeat left, by its number, and when the lease ends by the newest answer.
        self._left_at_s: dict[int, float] = {}
        self._ends_at_s = 0.0
        #: When the newest heartbeat left that was answered.
        self._answered_at_s = 0.0
        self._left_s: deque[float] = deque(maxlen=DELAYS_KEPT)

    @property
    def loop_delay_s(self) -> float:
        """How long the event loop let a heartbeat wait at most in the last minute, in seconds."""
        return max(self._delays_s)

    @property
    def lease_left_s(self) -> float:
        """What was left of the lease at least, in the last minute, when it was prolonged; 0 before it ever was."""
        return min(tuple(self._left_s), default=0.0)

    async def run(self) -> None:
        """Keeps a stream to the coordinator; ends when it is cancelled. Raises what the node's word raises."""
        self._loop, self._thread_loop = asyncio.get_running_loop(), uvloop.new_event_loop()
        self._failed = self._loop.create_future()
        keeping = self._thread_loop.create_task(self._keep_and_ask())
        thread = threading.Thread(target=self._live, args=(keeping,), name="lease", daemon=True)
        thread.start()
        relaying = self._loop.create_task(self._relay())
        try:
            await self._failed
        finally:
            relaying.cancel()
            _tell(self._thread_loop, keeping.cancel)
            await asyncio.to_thread(thread.join, _JOIN_S)

    # -- on the node's loop

    async def _relay(self) -> None:
        """Passes on that a heartbeat should leave at once."""
        while True:
            await self._node.heartbeat_wanted.wait()
            self._node.heartbeat_wanted.clear()
            _tell(self._thread_loop, self._wanted.set)

    def _speak(self, asked_at_s: float) -> None:
        """The node's word, between two steps of the loop: never in the middle of one."""
        try:
            made_at_s = now_s()
            self._delays_s.append(made_at_s - asked_at_s)
            self._node.hear_lease_words()
            self._word = _Word(self._node.status(), made_at_s)
            _tell(self._thread_loop, self._spoken.set)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

    # -- in the thread

    def _live(self, keeping: asyncio.Task[None]) -> None:
        loop = self._thread_loop
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(keeping)
        except asyncio.CancelledError:
            loop.run_until_complete(loop.shutdown_asyncgens())
        except Exception as error:  # a defect: the node must not go on without its lease in silence
            _tell(self._loop, self._fail, error)
        finally:
            loop.close()

    async def _keep_and_ask(self) -> None:
        asking = asyncio.ensure_future(self._vouching.run())
        try:
            await self._keep_on()
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _keep_on(self) -> None:
        longest_s = _BACKOFF_OF_SEVERAL_S_MAX if self._are_several else BACKOFF_MAX_S
        waits = Waits(Backoff(BACKOFF_INITIAL_S, longest_s, random.random))
        #: The problem with each that was told last.
        told: dict[str, str] = {}
        while True:
            coordinator = self._coordinators.address
            try:
                await self._keep(waits)
                problem = "it ended the stream"
            except StreamError as error:
                problem = str(error)
            if problem != told.get(coordinator):
                told[coordinator] = problem
                logger.warning("coordinator %s: %s", coordinator, problem)
            if self._coordinators.pass_on():
                await asyncio.sleep(waits.next_s())

    async def _keep(self, waits: Waits) -> None:
        """One stream, to its end. Raises StreamError where that is none that was meant."""
        self._unanswered = 0
        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                stream = await open_stream(self._coordinators.address, _KEEP_ALIVE)
        except TimeoutError:
            raise StreamError(f"no connection within {CONNECT_S_MAX:g} s") from None
        hearing = asyncio.ensure_future(self._hear(stream, waits))
        hearing.add_done_callback(lambda _: self._wanted.set())
        try:
            while not hearing.done():
                self._wanted.clear()
                if self._unanswered >= UNANSWERED_MAX:
                    raise StreamError(f"no answer to {UNANSWERED_MAX} heartbeats")
                word = await self._ask()
                if word is not None and not hearing.done():
                    await stream.write(self._heartbeat(word).SerializeToString())
                await _within(self._node.settings.heartbeat_s, self._wanted)
            await hearing
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
            await stream.close()

    async def _hear(self, stream: CallStream, waits: Waits) -> None:
        """Notes each answer. The loop hears what it can act on at once, and of a lease that goes on before whatever it
        does next: an idle node's loop need not wake for that."""
        before: LeaseAnswered | None = None
        async for message in stream.read():
            waits.reset()
            self._coordinators.answered()
            answer = lease_answered(coordinator_pb2.KeepAliveResponse.FromString(message))
            self._note(answer)
            self._measure(answer)
            # The answer to the very next heartbeat, with the same word, only prolongs the lease.
            prolongs = self._unanswered == 1 and before is not None and answer.sequence == before.sequence + 1
            if not (prolongs and replace(answer, sequence=0) == replace(cast(LeaseAnswered, before), sequence=0)):
                _tell(self._loop, self._node.hear_lease_words)
            before, self._unanswered = answer, 0

    async def _ask(self) -> _Word | None:
        """The node's word; None where it has said nothing for too long."""
        self._spoken.clear()
        _tell(self._loop, self._speak, now_s())
        await _within(ASK_S, self._spoken)
        word = self._word
        if word is None or now_s() - word.made_at_s > self._node.settings.loop_silence_s_max:
            return None
        return word

    def _heartbeat(self, word: _Word) -> coordinator_pb2.KeepAliveRequest:
        self._sequence += 1
        self._unanswered += 1
        # Before it leaves: the lease runs from here (role.py, rule 1). The loop hears of it before its answer.
        left_at_s = now_s()
        self._note(HeartbeatSent(self._sequence, left_at_s, word.made_at_s))
        self._left_at_s[self._sequence] = left_at_s
        return coordinator_pb2.KeepAliveRequest(
            cluster=self._node.cluster.name,
            node=self._address,
            status=word.status,
            sequence=self._sequence,
            incarnation=self._incarnation,
        )

    def _measure(self, answer: LeaseAnswered) -> None:
        """How near the lease came to its end before this answer, by this node's own count (role.py, rules 1 and 2)."""
        left_at_s = self._left_at_s.pop(answer.sequence, None)
        if left_at_s is None:
            return
        for older in [sequence for sequence in self._left_at_s if sequence < answer.sequence]:
            del self._left_at_s[older]
        if self._ends_at_s:
            self._left_s.append(self._ends_at_s - now_s())
        self._answered_at_s = left_at_s
        self._ends_at_s = left_at_s + answer.lease_s - self._node.settings.node.role.lease_margin_s

    def _epoch_in_doubt(self) -> int:
        """The epoch in which the node is primary, where the coordinator left a heartbeat unanswered; else 0."""
        word, at_s = self._word, now_s()
        if word is None or at_s - word.made_at_s > self._node.settings.loop_silence_s_max:
            return 0
        return word.status.primary_epoch if at_s - self._answered_at_s > 1.5 * self._node.settings.heartbeat_s else 0

    def _hear_vouched(self, vouched: Vouched) -> None:
        self._note(vouched)
        _tell(self._loop, self._node.hear_lease_words)

    def _note(self, event: HeartbeatSent | LeaseAnswered | Vouched) -> None:
        self._node.lease_words.append((event, now_s()))


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[..., object], *arguments: Any) -> None:
    """Has the other thread's loop do it; nothing where that has ended."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(what, *arguments)


async def _within(timeout_s: float, event: asyncio.Event) -> None:
    """Waits for the event, and no longer than that."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
