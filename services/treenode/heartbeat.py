"""The node's side of KeepAlive: a heartbeat every quarter of a second, and at once when something changed.

A thread of its own keeps the stream, so that an event loop which is held up for a moment costs no role: what the node
is changes on that loop alone, so what it last said of itself is still true. The thread asks the loop for its word
before each heartbeat and waits for it a moment; where none comes, the last one is sent again, with the time that it is
of (role.py, rule 8). A loop that says nothing for `loop_silence_s_max` is taken for dead: then no heartbeat leaves, and
the lease ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import grpc

from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.shared.backoff import Backoff, Waits
from services.shared.serving.channels import CHANNEL_OPTIONS
from services.treenode.node.role import HeartbeatSent, LeaseAnswered, OthersReady
from services.treenode.node.runner import NodeRunner, now_s

BACKOFF_INITIAL_S = 0.05
BACKOFF_MAX_S = 1.0
#: A coordinator that answers nothing for so many heartbeats is asked anew over another stream.
UNANSWERED_MAX = 8
#: A loop that is not held up answers within a fraction of this.
ASK_S = 0.05
#: The largest delay of the loop is told over so many heartbeats.
DELAYS_KEPT = 240
#: What the thread has to end in.
_JOIN_S = 5.0

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
        self._coordinator = coordinator
        self._address = address
        self._incarnation = secrets.token_hex(16)
        self._sequence = 0
        self._unanswered = 0
        self._loop: asyncio.AbstractEventLoop
        self._failed: asyncio.Future[None]
        #: The loop's newest word; written by the loop, read by the thread. None before the first.
        self._word: _Word | None = None
        #: Set by each word.
        self._spoken = threading.Event()
        self._ending = threading.Event()
        self._call: grpc.Call | None = None
        self._delays_s: deque[float] = deque([0.0], DELAYS_KEPT)

    @property
    def loop_delay_s(self) -> float:
        """How long the event loop let a heartbeat wait at most in the last minute, in seconds."""
        return max(self._delays_s)

    async def run(self) -> None:
        """Keeps a stream to the coordinator; ends when it is cancelled. Raises what the node's word raises."""
        self._loop = asyncio.get_running_loop()
        self._failed = self._loop.create_future()
        thread = threading.Thread(target=self._keep_on, name="lease", daemon=True)
        thread.start()
        try:
            await self._failed
        finally:
            self._ending.set()
            self._node.heartbeat_wanted.set()
            if (call := self._call) is not None:
                call.cancel()
            await asyncio.to_thread(thread.join, _JOIN_S)

    # -- on the event loop

    def _speak(self, asked_at_s: float) -> None:
        """The node's word, between two steps of the loop: never in the middle of one."""
        try:
            made_at_s = now_s()
            self._delays_s.append(made_at_s - asked_at_s)
            self._word = _Word(self._node.status(), made_at_s)
            self._spoken.set()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

    # -- in the thread

    def _keep_on(self) -> None:
        waits = Waits(Backoff(BACKOFF_INITIAL_S, BACKOFF_MAX_S, random.random))
        told = ""
        while not self._ending.is_set():
            try:
                with grpc.insecure_channel(self._coordinator, options=CHANNEL_OPTIONS) as channel:
                    self._keep(channel, waits)
                problem = "it ended the stream"
            except grpc.RpcError as error:
                problem = f"{error.code().name}: {error.details()}"
                if self._unanswered >= UNANSWERED_MAX:
                    problem = f"no answer to {UNANSWERED_MAX} heartbeats"
            except Exception as error:  # a defect: the node must not go on without its lease in silence
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    self._loop.call_soon_threadsafe(self._fail, error)
                return
            if problem != told and not self._ending.is_set():
                told = problem
                logger.warning("coordinator %s: %s", self._coordinator, problem)
            self._ending.wait(waits.next_s())

    def _keep(self, channel: grpc.Channel, waits: Waits) -> None:
        """One stream, to its end."""
        self._unanswered = 0
        over = threading.Event()
        call = self._call = coordinator_pb2_grpc.CoordinatorServiceStub(channel).KeepAlive(self._requests(over))
        try:
            if self._ending.is_set():  # whoever ends this has not seen the call
                return
            for answer in call:
                waits.reset()
                self._unanswered = 0
                self._tell(lease_answered(answer))
        finally:
            over.set()
            self._node.heartbeat_wanted.set()
            call.cancel()

    def _requests(self, over: threading.Event) -> Iterator[coordinator_pb2.KeepAliveRequest]:
        node = self._node
        while not self._ending.is_set():
            node.heartbeat_wanted.clear()
            if over.is_set():
                return  # it was set for this
            if self._unanswered >= UNANSWERED_MAX:
                if (call := self._call) is not None:
                    call.cancel()
                return
            word = self._ask()
            if word is not None and not over.is_set():
                yield self._heartbeat(word)
            node.heartbeat_wanted.wait(node.settings.heartbeat_s)

    def _ask(self) -> _Word | None:
        """The node's word; None where it has said nothing for too long."""
        asked_at_s = now_s()
        self._spoken.clear()
        try:
            self._loop.call_soon_threadsafe(self._speak, asked_at_s)
        except RuntimeError:  # the loop has ended
            return None
        self._spoken.wait(ASK_S)
        word = self._word
        if word is None or now_s() - word.made_at_s > self._node.settings.loop_silence_s_max:
            return None
        return word

    def _heartbeat(self, word: _Word) -> coordinator_pb2.KeepAliveRequest:
        self._sequence += 1
        self._unanswered += 1
        # Before it leaves: the lease runs from here (role.py, rule 1).
        self._tell(HeartbeatSent(self._sequence, now_s(), word.made_at_s))
        return coordinator_pb2.KeepAliveRequest(
            cluster=self._node.cluster.name,
            node=self._address,
            status=word.status,
            sequence=self._sequence,
            incarnation=self._incarnation,
        )

    def _tell(self, event: HeartbeatSent | LeaseAnswered) -> None:
        self._node.lease_words.append((event, now_s()))
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._node.hear_lease_words)
