"""The pusher's two ports, and who answers at them. They stay open while one part takes another one's place: of several
pushers, each stands by and is active in turns, and no client's connection ends for that.

A call is answered by whichever part serves when it begins. One that comes while another part is about to serve waits
for that, not for ever. One that its part ends because it serves no longer is told what that part's follower tells.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from fasttree.v1 import import_source_pb2_grpc, pusher_pb2_grpc
from services.pusher.service import add_pusher_servicer
from services.pusher.settings import PusherSettings
from services.shared.debug.own_pages import own_pages
from services.shared.domain.addresses import address_of
from services.shared.serving.errors import FastTreeError, UnavailableError
from services.shared.serving.metrics import Metrics
from services.shared.serving.ops_port import OpsPort, Verdict
from services.shared.serving.server import AddServicer, GrpcServer

_SERVICES = ("fasttree.v1.PusherService", "fasttree.v1.ImportSourceService")


@dataclass(eq=False)
class Answering:
    """One part that answers at both ports."""

    pusher: pusher_pb2_grpc.PusherServiceServicer
    files: import_source_pb2_grpc.ImportSourceServiceServicer
    metrics: Metrics
    is_ready: Callable[[], Verdict]
    #: What callers are told instead of an answer, where it only sends them on; None: it answers.
    refusal: Callable[[], FastTreeError] | None = None
    #: Calls under way: the tasks that they are.
    calls: set[Any] = field(default_factory=set)
    #: Set while none is.
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    #: Those that are under way are to end.
    is_ending: bool = False

    def begin(self, call: Any) -> None:
        """One more."""
        self.calls.add(call)
        self.idle.clear()

    def end(self, call: Any) -> None:
        """One less."""
        self.calls.discard(call)
        if not self.calls:
            self.idle.set()


class PusherPorts:
    """Both ports. `wait_s_max`: how long a call waits for a part that is about to serve."""

    def __init__(self, settings: PusherSettings, http_names: tuple[str, ...] = (), wait_s_max: float = 0.0) -> None:
        self._settings, self._wait_s_max = settings, wait_s_max
        self._answering: Answering | None = None
        #: Set once the part that is about to serve does, or won't; None: there is no such part.
        self._about_to_change: asyncio.Event | None = None
        services: list[tuple[AddServicer, object]] = [
            (add_pusher_servicer, _Pusher(self)),
            (import_source_pb2_grpc.add_ImportSourceServiceServicer_to_server, _Files(self)),
        ]
        address = address_of(settings.listen_host, settings.port)
        self.server = GrpcServer(address, services, _SERVICES, settings.serving, "pusher.port")
        names = (settings.listen_host, *http_names)
        self.http = OpsPort("pusher.http_port", self, {"/readyz": self._is_ready}, list(own_pages()), names)

    async def start(self) -> None:
        """Listens on both ports, or on none: raises OSError where one is taken."""
        await self.http.start(self._settings.listen_host, self._settings.http_port)
        try:
            await self.server.start()
        except BaseException:
            await self.http.stop()
            raise

    async def stop(self, grace_s: float) -> None:
        """No more calls; ends those that outlive the grace, in seconds. The pages are there to the end."""
        await self.server.stop(grace_s)
        await self.http.stop()

    # ---- who answers -------------------------------------------------------------------------------------------------

    def serve(self, part: Answering) -> None:
        """Calls that begin from now on are that part's."""
        if self._answering is not None:
            self._answering.metrics.tells = False
        part.metrics.tells = True
        self._answering = part
        self.let_go()

    def hold(self) -> None:
        """Another part is about to serve: calls that begin wait for it."""
        if self._about_to_change is None:
            self._about_to_change = asyncio.Event()

    def let_go(self) -> None:
        """Nobody is about to serve but whoever does."""
        if self._about_to_change is not None:
            self._about_to_change.set()
            self._about_to_change = None

    async def end_calls(self, part: Answering, grace_s: float) -> None:
        """Waits for the part's calls to end; ends those that outlive the grace."""
        part.is_ending = True
        if not part.calls:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await part.idle.wait()
        for call in tuple(part.calls):
            call.cancel()
        if part.calls:
            await part.idle.wait()

    async def call(self, answer: Callable[[Answering], Awaitable[Any]]) -> Any:
        """A call of one answer, by whoever serves."""
        part = await self._serving()
        async with self._one_of(part):
            return await answer(part)

    async def stream(self, answers: Callable[[Answering], AsyncIterator[Any]]) -> AsyncIterator[Any]:
        """A call of many answers, by whoever serves."""
        part = await self._serving()
        async with self._one_of(part):
            async for each in answers(part):
                yield each

    async def _serving(self) -> Answering:
        if self._about_to_change is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s_max):
                    await self._about_to_change.wait()
        if self._answering is None:
            raise UnavailableError("the pusher is starting; try again")
        return self._answering

    @contextlib.asynccontextmanager
    async def _one_of(self, part: Answering) -> AsyncIterator[None]:
        """For the length of a call."""
        task = asyncio.current_task()
        part.begin(task)
        try:
            yield
        except asyncio.CancelledError:
            if not part.is_ending or task is None:
                raise  # its client has left
            task.uncancel()
            raise self._told_at_the_end(part, UnavailableError("the pusher is stopping; try again")) from None
        except UnavailableError as error:
            raise self._told_at_the_end(part, error) from None
        finally:
            part.end(task)

    def _told_at_the_end(self, part: Answering, error: FastTreeError) -> FastTreeError:
        """To whom a part has not answered: what another one says that has taken its place."""
        now = self._answering
        return now.refusal() if now is not None and now is not part and now.refusal is not None else error

    # ---- the pages ---------------------------------------------------------------------------------------------------

    def text(self, *, examples: bool = False) -> bytes:
        """Figures of whoever serves."""
        return b"" if self._answering is None else self._answering.metrics.text(examples=examples)

    def _is_ready(self) -> Verdict:
        return Verdict(False, "starting") if self._answering is None else self._answering.is_ready()


def _one(service: str, name: str) -> Any:
    """A method of one answer."""

    async def call(self: _Pusher | _Files, request: Any, context: Any) -> Any:
        return await self.ports.call(lambda part: getattr(getattr(part, service), name)(request, context))

    return call


def _many(service: str, name: str) -> Any:
    """A method of many answers."""

    async def call(self: _Pusher | _Files, request: Any, context: Any) -> AsyncIterator[Any]:
        async for each in self.ports.stream(lambda part: getattr(getattr(part, service), name)(request, context)):
            yield each

    return call


class _Pusher(pusher_pb2_grpc.PusherServiceServicer):
    """Hands each call on to whoever serves."""

    def __init__(self, ports: PusherPorts) -> None:
        self.ports = ports

    PushUpdates: Any = _many("pusher", "PushUpdates")
    UploadImport: Any = _one("pusher", "UploadImport")
    WatchImport: Any = _many("pusher", "WatchImport")
    RollbackImport: Any = _one("pusher", "RollbackImport")
    GetImportProfile: Any = _one("pusher", "GetImportProfile")
    GetPusher: Any = _one("pusher", "GetPusher")
    SkipUpdate: Any = _one("pusher", "SkipUpdate")
    EraseMember: Any = _one("pusher", "EraseMember")
    GetErasure: Any = _one("pusher", "GetErasure")
    ReadPersonal: Any = _one("pusher", "ReadPersonal")
    AdoptLog: Any = _one("pusher", "AdoptLog")
    ReadLog: Any = _many("pusher", "ReadLog")


class _Files(import_source_pb2_grpc.ImportSourceServiceServicer):
    """The same for import files."""

    def __init__(self, ports: PusherPorts) -> None:
        self.ports = ports

    DownloadImport: Any = _many("files", "DownloadImport")
