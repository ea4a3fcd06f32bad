"""Whether a call may be made, asked before its handler: by this project's server, and by grpcio's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from grpc_status import rpc_status

from services.shared.security.guard import CALLER_HEADER, Guard, principals_of
from services.shared.serving.errors import PermissionDeniedError, to_rpc_status

_HEADER = CALLER_HEADER.encode()


def guarding(guard: Guard) -> Callable[[bytes, dict[str, list[bytes]], Any], tuple[str, Any] | None]:
    """As the server of this project asks."""

    def check(path: bytes, peer: dict[str, list[bytes]], headers: Any) -> tuple[str, Any] | None:
        caller = next((value.decode("utf-8", "replace") for name, value in headers if name == _HEADER), None)
        refusal = guard.refusal(path.decode("utf-8", "replace"), principals_of(peer), caller)
        if refusal is None:
            return None
        status = _status(refusal)
        return status.details, status.trailing_metadata

    return check


class GuardInterceptor(grpc.aio.ServerInterceptor):
    """As grpcio's server asks: it says who calls only once a handler runs, so that stands in the handler's place."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wraps the handler of one call."""
        handler = await continuation(handler_call_details)
        return None if handler is None else self._guarded(handler, handler_call_details.method)

    def _guarded(self, handler: Any, path: str) -> Any:
        serializers = (handler.request_deserializer, handler.response_serializer)
        behavior = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream

        async def one(request: Any, context: Any) -> Any:
            await self._check(path, context)
            return await behavior(request, context)

        async def many(request: Any, context: Any) -> Any:
            await self._check(path, context)
            answers = behavior(request, context)
            if not hasattr(answers, "__aiter__"):  # it writes by the context
                await answers
                return
            async for answer in answers:
                yield answer

        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(one, *serializers)
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(one, *serializers)
        make = grpc.unary_stream_rpc_method_handler if handler.unary_stream else grpc.stream_stream_rpc_method_handler
        return make(many, *serializers)

    async def _check(self, path: str, context: Any) -> None:
        headers = dict(context.invocation_metadata() or ())
        caller = headers.get(CALLER_HEADER)
        refusal = self._guard.refusal(path, principals_of(context.auth_context()), caller)
        if refusal is not None:
            await context.abort_with_status(_status(refusal))


def _status(refusal: str) -> Any:
    return rpc_status.to_status(to_rpc_status(PermissionDeniedError(refusal)))
