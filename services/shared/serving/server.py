"""What every server has: health, reflection, limits, one way from an exception to a status."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from grpc_status import rpc_status

from services.shared.domain.addresses import host_and_port
from services.shared.security.own import check_clear, own_guard, own_tls
from services.shared.serving.callers.counting import Callers
from services.shared.serving.callers.interceptor import CallersInterceptor
from services.shared.serving.calls import Calls
from services.shared.serving.channels import MESSAGE_BYTES_MAX, server_options
from services.shared.serving.connections import Connections
from services.shared.serving.errors import ResourceExhaustedError, to_rpc_status
from services.shared.serving.settings import ServingSettings
from services.shared.serving.standard.guarding import GuardInterceptor, ending, guarding
from services.shared.serving.standard.handling import AtOnce, counted, named
from services.shared.serving.standard.health import CHECK, HEALTH, Health
from services.shared.serving.standard.symbols import Symbols
from services.shared.telemetry.calls import CallSpans
from services.shared.telemetry.own import own_tracer

if TYPE_CHECKING:
    from services.shared.security.following import Tls

try:
    from services.shared.serving.http2.limits import Limits
    from services.shared.serving.http2.server import Http2Server
except ModuleNotFoundError as missing:
    if missing.name != "ngh2":
        raise
    Http2Server = None  # type: ignore[assignment, misc]

LIVE = ""
READY = "ready"
PRIMARY = "primary"

logger = logging.getLogger(__name__)

AddServicer = Callable[[Any, Any], None]

#: When a call that was refused for the number of others may do better.
_RETRY_AFTER_S = 1.0


class GrpcServer:
    """A gRPC server with health and reflection.

    Args:
        address: host:port to listen on; port 0 takes a free one.
        services: Each a generated `add_…Servicer_to_server` with its servicer.
        service_names: Full names for reflection, such as "fasttree.v1.ReportService".
        settings: What serves, and its bounds.
        setting: What sets the port, such as "pusher.port".
        message_bytes_max: Of a request.
        age_s_max: Each connection is asked to end after about this time; 0 for never.
        at_once: By a call's path: what is asked before its handler, by a server that can.
    """

    def __init__(
        self,
        address: str,
        services: Sequence[tuple[AddServicer, Any]],
        service_names: Sequence[str],
        settings: ServingSettings | None = None,
        setting: str = "another port",
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        age_s_max: float = 0.0,
        at_once: Mapping[str, AtOnce] | None = None,
    ) -> None:
        self._address = address
        self._setting = setting
        tracer = own_tracer()
        self.calls = Calls(None if tracer is None else CallSpans(tracer))
        settings = settings or ServingSettings()
        self.callers = Callers(settings.callers, setting.partition(".")[0])
        self._carrier = _carrier(settings, self.calls, self.callers, message_bytes_max, age_s_max, setting)
        for add, servicer in services:
            add(servicer, self._carrier.server)
        self._health = Health()
        health_pb2_grpc.add_HealthServicer_to_server(self._health.servicer, self._carrier.server)
        self._carrier.answer_at_once(CHECK, self._health.at_once)
        for path, answer in (at_once or {}).items():
            self._carrier.answer_at_once(path, counted(answer, path, self.calls))
        names = [*service_names, HEALTH, reflection.SERVICE_NAME]
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
            reflection.aio.ReflectionServicer(names, pool=Symbols()), self._carrier.server
        )
        self.port = 0

    @property
    def connections(self) -> Connections | None:
        """Its figures; None where grpcio serves, which counts none."""
        return self._carrier.connections

    async def start(self) -> int:
        """Listens; returns the port.

        Raises:
            OSError: The address is taken or can't be listened on; names it. Or there is no TLS, and strangers reach it.
        """
        # LIVE serves from the start, the others not until told.
        for name in (LIVE, READY, PRIMARY):
            await self.set_health(name, name == LIVE)
        tls = own_tls()
        if tls is None:
            check_clear(host_and_port(self._address)[0])
        try:
            self.port = await self._carrier.start(self._address, tls)
        except (OSError, RuntimeError) as error:
            raise OSError(f"can't listen on {self._address}: is it in use? set {self._setting}") from error
        return self.port

    async def set_health(self, name: str, serving: bool) -> None:
        """Sets what grpc.health.v1 answers (and tells its watchers) for one name."""
        await self._health.set(name, serving)

    async def set_active(self, active: bool) -> None:
        """READY and PRIMARY in one, for a service of which a cluster has one."""
        for name in (READY, PRIMARY):
            await self.set_health(name, active)

    async def stop(self, grace_s: float) -> None:
        """Not serving to every health check; no new calls; ends those that outlive the grace, in seconds."""
        await self._health.drain()
        await self._carrier.stop(grace_s)

    async def give_way(self) -> None:
        """As `stop` without a grace, for another server that has the port at once: clients that don't go hold up
        nobody."""
        await self._health.drain()
        await self._carrier.give_way()


class _Carrier(Protocol):
    """What takes calls from the network to servicers."""

    @property
    def server(self) -> Any:
        """What generated `add_…_to_server` functions are given."""

    @property
    def connections(self) -> Connections | None:
        """Its figures; None: it has none."""

    def answer_at_once(self, path: str, answer: AtOnce) -> None:
        """Asks that before a unary call's handler, where that saves anything."""

    async def start(self, address: str, tls: Tls | None) -> int:
        """Listens; returns the port. Raises OSError or RuntimeError."""

    async def stop(self, grace_s: float) -> None:
        """Ends what outlives the grace."""

    async def give_way(self) -> None:
        """Ends all, and waits for no client."""


class _Grpcio:
    """The server of grpcio."""

    connections = None

    def __init__(
        self,
        settings: ServingSettings,
        calls: Calls,
        callers: Callers,
        message_bytes_max: int,
        age_s_max: float,
        setting: str,
    ) -> None:
        if (tls := own_tls()) is not None and tls.without_certificate:
            raise OSError("where grpcio serves, everybody needs a certificate: set tokens.without_certificate = false")
        # No maximum_concurrent_rpcs: what grpcio itself refuses by has no details.
        self.server = grpc.aio.server(
            interceptors=[
                # The first is asked first: nothing of a call that may not be made is done or written down.
                *([] if (guard := own_guard()) is None else [GuardInterceptor(guard)]),
                CallersInterceptor(callers),
                _Interceptor(calls, callers, settings.calls_max, _too_many_calls(settings, setting)),
            ],
            options=[*server_options(message_bytes_max, age_s_max)],
        )

    def answer_at_once(self, path: str, answer: AtOnce) -> None:
        """Nothing: grpcio takes a thread and a task for each call before anybody could be asked."""

    async def start(self, address: str, tls: Tls | None) -> int:
        if tls is None:
            port = self.server.add_insecure_port(address)
        elif tls.without_certificate:
            raise OSError(
                "where grpcio serves, everybody needs a certificate: tokens.without_certificate must be false"
            )
        else:
            port = self.server.add_secure_port(address, tls.server_credentials())
        await self.server.start()
        return int(port)

    async def stop(self, grace_s: float) -> None:
        await self.server.stop(grace_s)

    async def give_way(self) -> None:
        await self.server.stop(0.0)


class _Nghttp2:
    """The server of this project."""

    def __init__(
        self,
        settings: ServingSettings,
        calls: Calls,
        callers: Callers,
        message_bytes_max: int,
        age_s_max: float,
        setting: str,
    ) -> None:
        section, _, field = setting.partition(".")
        self.connections = Connections(field.removesuffix("port").rstrip("_") or section)
        status = _too_many_calls(settings, setting)
        self.server = Http2Server(
            Limits(message_bytes_max=message_bytes_max, queue_s_max=settings.queue_s_max),
            settings.calls_max,
            settings.connections_max,
            (status.details, status.trailing_metadata),
            self.connections,
            lambda path, handler: named(path, handler, calls),
            age_s_max,
        )
        self.server.callers = callers
        status = _stale(setting)
        self.server.stale = (status.details, status.trailing_metadata)
        if calls.spans is not None:
            self.server.is_traced = calls.spans.is_asked_for
        self.answer_at_once = self.server.answer_at_once
        self.stop = self.server.stop
        self.give_way = self.server.give_way

    async def start(self, address: str, tls: Tls | None) -> int:
        guard = own_guard()
        if guard is not None:
            self.server.guard, self.server.ending = guarding(guard), ending(guard)
            self.server.is_welcome = lambda peer: not guard.is_revoked(peer)
        if tls is None:
            return await self.server.start(address)
        return await self.server.start(address, tls.server_context)


def _stale(setting: str) -> Any:
    """The status of a call that waited too long for its turn."""
    late = ResourceExhaustedError(
        "there is more to do here than can be done: the call waited for most of the time that its caller gives it, or "
        f"for {setting.partition('.')[0]}.queue_s_max; call less often, or ask another server",
        reason="WAITED_TOO_LONG",
        retry_after_s=_RETRY_AFTER_S,
    )
    return rpc_status.to_status(to_rpc_status(late))


def _too_many_calls(settings: ServingSettings, setting: str) -> Any:
    """The status of a call beyond `calls_max`, whoever serves; `setting` says the port, such as "pusher.port"."""
    full = ResourceExhaustedError(
        f"{settings.calls_max} calls are under way; {setting.partition('.')[0]}.calls_max sets how many may be",
        reason="TOO_MANY_CALLS",
        retry_after_s=_RETRY_AFTER_S,
    )
    return rpc_status.to_status(to_rpc_status(full))


def _carrier(
    settings: ServingSettings, calls: Calls, callers: Callers, message_bytes_max: int, age_s_max: float, setting: str
) -> _Carrier:
    if settings.server == "nghttp2" and Http2Server is not None:
        return _Nghttp2(settings, calls, callers, message_bytes_max, age_s_max, setting)
    if settings.server == "nghttp2":
        logger.warning("the package ngh2 is missing: grpcio serves, several times slower; `pip install ngh2` brings it")
    return _Grpcio(settings, calls, callers, message_bytes_max, age_s_max, setting)


class _Interceptor(grpc.aio.ServerInterceptor):
    """Puts `named` before each handler of grpcio's server, and refuses calls beyond `calls_max` with that status."""

    def __init__(self, calls: Calls, callers: Callers, calls_max: int, refusal: Any) -> None:
        self._calls = calls
        self._apart = callers.apart
        self._calls_max = calls_max
        self._open = 0
        self._refusing = _refusing(refusal)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wraps the handler of one call."""
        apart = handler_call_details.method.encode() in self._apart
        if self._open >= (2 * self._calls_max if apart else self._calls_max):
            return self._refusing
        # Each call is a task, which ends with it, however it ends.
        call = asyncio.current_task()
        assert call is not None
        self._open += 1
        call.add_done_callback(self._ended)
        handler = await continuation(handler_call_details)
        return None if handler is None else named(handler_call_details.method, handler, self._calls)

    def _ended(self, _: asyncio.Task[Any]) -> None:
        self._open -= 1


def _refusing(status: Any) -> grpc.RpcMethodHandler[Any, Any]:
    """Ends any call with the status, before a request is read: a call of streams at both ends reads when it wants."""

    async def refuse(_: Any, context: Any) -> None:
        await context.abort_with_status(status)

    return grpc.stream_stream_rpc_method_handler(refuse)
