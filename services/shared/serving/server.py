"""What every server has: health, reflection, limits, one way from an exception to a status."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from services.shared.serving.calls import Calls
from services.shared.serving.channels import CALLS_MAX, SERVER_OPTIONS
from services.shared.serving.errors import FastTreeError, to_rpc_status
from services.shared.serving.symbols import Symbols

LIVE = ""
READY = "ready"
PRIMARY = "primary"

logger = logging.getLogger(__name__)

#: Hosts to listen on that mean every address of the machine.
EVERY_ADDRESS = ("0.0.0.0", "::", "[::]")

AddServicer = Callable[[Any, grpc.aio.Server], None]


class GrpcServer:
    """A grpc.aio server with health and reflection.

    Args:
        address: host:port to listen on; port 0 takes a free one.
        services: Each a generated `add_…Servicer_to_server` with its servicer.
        service_names: Full names for reflection, such as "fasttree.v1.ReportService".
        options: Further channel options.
        setting: What sets the port, such as "pusher.port".
    """

    def __init__(
        self,
        address: str,
        services: Sequence[tuple[AddServicer, Any]],
        service_names: Sequence[str],
        options: Sequence[tuple[str, int]] = (),
        setting: str = "another port",
    ) -> None:
        self._address = address
        self._setting = setting
        self.calls = Calls()
        self._server = grpc.aio.server(
            interceptors=[ErrorInterceptor(self.calls)],
            options=[*SERVER_OPTIONS, *options],
            maximum_concurrent_rpcs=CALLS_MAX,
        )
        for add, servicer in services:
            add(servicer, self._server)
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            [*service_names, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server, pool=Symbols()
        )
        self.port = 0

    async def start(self) -> int:
        """Listens; returns the port.

        Raises:
            OSError: The address is taken or can't be listened on; names it.
        """
        # LIVE serves from the start, the others not until told.
        for name in (LIVE, READY, PRIMARY):
            await self.set_health(name, name == LIVE)
        try:
            self.port = self._server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise OSError(f"can't listen on {self._address}: is it in use? set {self._setting}") from error
        await self._server.start()
        return self.port

    async def set_health(self, name: str, serving: bool) -> None:
        """Sets what grpc.health.v1 answers (and tells its watchers) for one name."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        await self._health.set(name, status)

    async def set_active(self, active: bool) -> None:
        """READY and PRIMARY in one, for a service of which a cluster has one."""
        for name in (READY, PRIMARY):
            await self.set_health(name, active)

    async def stop(self, grace_s: float) -> None:
        """Not serving to every health check; no new calls; ends those that outlive the grace, in seconds."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Answers a FastTreeError with its status and details, and anything else with INTERNAL and a line in the log."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wraps the handler of one call."""
        handler: Any = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith("/fasttree."):
            return handler
        serializers = (handler.request_deserializer, handler.response_serializer)
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(_unary(handler.unary_unary, method, self._calls), *serializers)
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(_unary(handler.stream_unary, method, self._calls), *serializers)
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(
                _stream(handler.unary_stream, method, self._calls), *serializers
            )
        return grpc.stream_stream_rpc_method_handler(_stream(handler.stream_stream, method, self._calls), *serializers)


def _unary(behavior: Any, method: str, calls: Calls) -> Any:
    name = method.rpartition("/")[2]

    async def call(request: Any, context: Any) -> Any:
        begun, code = calls.begin(name), grpc.StatusCode.OK.name
        try:
            return await behavior(request, context)
        except Exception as error:
            code = _code_of(error)
            await _abort(error, method, context)
        except BaseException:  # its caller has left
            code = grpc.StatusCode.CANCELLED.name
            raise
        finally:
            calls.end(name, code, begun)

    return call


def _stream(behavior: Any, method: str, calls: Calls) -> Any:
    name = method.rpartition("/")[2]

    async def call(request: Any, context: Any) -> Any:
        begun, code = calls.begin(name), grpc.StatusCode.OK.name
        try:
            async for response in behavior(request, context):
                yield response
        except Exception as error:
            code = _code_of(error)
            await _abort(error, method, context)
        except BaseException:
            code = grpc.StatusCode.CANCELLED.name
            raise
        finally:
            calls.end(name, code, begun)

    return call


def _code_of(error: Exception) -> str:
    """What its caller is told; a fault of ours is INTERNAL."""
    code: grpc.StatusCode = error.code if isinstance(error, FastTreeError) else FastTreeError.code
    return code.name


async def _abort(error: Exception, method: str, context: Any) -> None:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, FastTreeError):
        await context.abort_with_status(rpc_status.to_status(to_rpc_status(error)))
    logger.error("%s failed", method, exc_info=error)
    # With details, so that a client can tell a server's fault from a broken connection, which it may try again.
    fault = FastTreeError(f"{method} failed: {type(error).__name__}; the server's log has more")
    await context.abort_with_status(rpc_status.to_status(to_rpc_status(fault)))
