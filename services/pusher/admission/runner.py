"""PushUpdates: reads streams and sends receipts, as the admission core (`admission.py`) asks for."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from fasttree.v1 import pusher_pb2
from services.pusher.admission.admission import Admission
from services.pusher.admission.decisions import PushedDecisions
from services.pusher.admission.events import (
    AdmissionEvent,
    Append,
    Drain,
    EndStream,
    Pushed,
    ReadOn,
    RequestsEnded,
    Respond,
    ResponseTaken,
    StreamEnd,
    StreamGone,
    StreamOpened,
)
from services.pusher.admission.messages import batch_of, response_of
from services.pusher.admission.settings import AdmissionSettings
from services.pusher.log.group_commit import Push
from services.pusher.log.store import DeposedError
from services.pusher.tracing.updates import UpdateTraces
from services.shared.cores import Tick
from services.shared.rules import Rules
from services.shared.serving.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from services.shared.telemetry.tracer import current


@dataclass(slots=True)
class _Client:
    """One open stream."""

    #: Set while the next message may be read.
    read_on: asyncio.Event = field(default_factory=asyncio.Event)
    #: What is to be sent next, or how it ends. The core asks for one thing at a time.
    outbox: asyncio.Queue[Respond[bytes] | EndStream] = field(default_factory=asyncio.Queue)


class AdmissionRunner:
    """The shell of the admission core. Everything on one event loop."""

    def __init__(
        self,
        settings: AdmissionSettings,
        position: int,
        append: Callable[[Push[bytes]], None],
        rules: Callable[[], Rules],
        draining: asyncio.Event,
        traces: UpdateTraces | None = None,
    ) -> None:
        """`position`: the log's end; `append`: see `LogWriter.append`; `rules`: those in force; `draining`: set when
        the pusher is to end; `traces`: of those updates that are traced."""
        self.core: Admission[bytes] = Admission(settings, position=position)
        self._append = append
        self._rules = rules
        self._draining = draining
        self._traces = traces
        self._clients: dict[int, _Client] = {}
        self._numbers = itertools.count(1)
        #: When the core is told the time next, on the monotonic clock; None while nothing is planned.
        self._wakes_at_s: float | None = None

    async def run(self) -> None:
        """Tells the core when the pusher is about to end."""
        await self._draining.wait()
        self.handle(Drain())

    # -- one stream

    async def stream(
        self,
        requests: AsyncIterator[pusher_pb2.PushUpdatesRequest],
        remaining_s: float | None,
        decisions: PushedDecisions,
    ) -> AsyncIterator[pusher_pb2.PushUpdatesResponse]:
        """Receipts of one stream. `remaining_s`: what is left of the call's time, None without a limit; `decisions`:
        writes down who makes them.

        Raises:
            FailedPreconditionError: Nodes have another past than this log, or a decision can't be written down. What
                has a receipt is durable.
            InvalidArgumentError: A message has too many updates. Those before it have their receipts.
            UnavailableError: The pusher ends. What has a receipt is durable.
        """
        number, client = next(self._numbers), _Client()
        self._clients[number] = client
        self.handle(StreamOpened(number, None if remaining_s is None else time.monotonic() + remaining_s))
        reader = asyncio.create_task(self._read(number, client, requests, decisions))
        try:
            while isinstance(action := await client.outbox.get(), Respond):
                response = response_of(action.answers)
                if decisions.waiting:
                    await decisions.answered(response.receipts)
                yield response
                self.handle(ResponseTaken(number))
            match action.why:
                case StreamEnd.DONE:
                    await reader  # raises where the requests ended by an error
                case StreamEnd.DRAINING:
                    raise UnavailableError("the pusher is stopping; push what has no receipt again, under the same ids")
                case StreamEnd.CLOSED:
                    raise FailedPreconditionError(action.message, reason="LOG_CONTESTED")
                case StreamEnd.TOO_MANY_UPDATES:
                    raise InvalidArgumentError(action.message, field="updates")
                case StreamEnd.FAULT if isinstance(action.error, DeposedError):
                    raise FailedPreconditionError(f"{action.message}; push again where one is active", reason="STANDBY")
                case StreamEnd.FAULT:
                    raise RuntimeError(action.message) from action.error
        finally:
            del self._clients[number]
            self.handle(StreamGone(number))
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            decisions.left()

    async def _read(
        self,
        number: int,
        client: _Client,
        requests: AsyncIterator[pusher_pb2.PushUpdatesRequest],
        decisions: PushedDecisions,
    ) -> None:
        parent, before = (None, 0) if self._traces is None else (current(), 0)
        try:
            async for request in requests:
                client.read_on.clear()
                batch = batch_of(request, self._rules())
                if batch.decisions:
                    await decisions.begin([request.updates[index] for index in batch.decisions])
                    batch = batch_of(request, self._rules())  # others may be in force meanwhile
                if self._traces is not None:
                    batch = self._traces.marked(request, batch, parent, before)
                    before += batch.updates
                self.handle(Pushed(number, batch))
                await client.read_on.wait()
        except Exception:
            self.handle(RequestsEnded(number))
            raise
        self.handle(RequestsEnded(number))

    # -- the core

    def handle(self, event: AdmissionEvent[bytes]) -> None:
        """Tells the core, and does what it asks for."""
        now_s = time.monotonic()
        for action in self.core.handle(event, now_s):
            match action:
                case Append(push):
                    if self._traces is not None:
                        self._traces.appending(push)
                    self._append(push)
                case ReadOn(stream):
                    self._clients[stream].read_on.set()
                case Respond() | EndStream():
                    self._clients[action.stream].outbox.put_nowait(action)
        deadline_s = self.core.deadline_s
        if deadline_s is not None and (self._wakes_at_s is None or deadline_s < self._wakes_at_s):
            self._wakes_at_s = deadline_s
            asyncio.get_running_loop().call_later(max(0.0, deadline_s - now_s), self._wake, deadline_s)

    def _wake(self, wakes_at_s: float) -> None:
        if self._wakes_at_s == wakes_at_s:  # else another one was planned for before it
            self._wakes_at_s = None
            self.handle(Tick())
