"""Whether a call may be made, asked before its handler: by this project's server, and by grpcio's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from grpc_status import rpc_status

from services.shared.security.caller import Caller, CallerContext
from services.shared.security.guard import CALLER_HEADER, Guard, Refusal
from services.shared.serving.errors import PermissionDeniedError, UnauthenticatedError, to_rpc_status
from services.shared.serving.standard.auditing import note_refused
from services.shared.serving.standard.handling import behavior_of, with_behavior
from services.shared.serving.standard.lasting import awaited, iterated

#: Where a caller's token stands, and its name in gRPC's metadata.
AUTHORIZATION = "authorization"
_HEADER, _AUTHORIZATION = CALLER_HEADER.encode(), AUTHORIZATION.encode()


def guarding(guard: Guard) -> Callable[[bytes, dict[str, list[bytes]], Any, str], Caller | grpc.Status]:
    """As the server of this project asks."""

    def check(path: bytes, peer: dict[str, list[bytes]], headers: Any, address: str) -> Caller | grpc.Status:
        told = authorization = None
        for name, value in headers:
            if name == _HEADER:
                told = value.decode("utf-8", "replace") if told is None else told
            elif name == _AUTHORIZATION:
                # Two of them are none.
                authorization = value.decode("latin-1") if authorization is None else ""
        called = path.decode("utf-8", "replace")
        found = guard.judge_peer(called, peer, told, authorization)
        if isinstance(found, Refusal):
            note_refused(called, found, address)
            status: grpc.Status = _status(found)
            return status
        return found

    return check


def ending(guard: Guard) -> Callable[[bytes, Caller, dict[str, list[bytes]], Any, str], grpc.Status | None]:
    """As the server of this project asks of a stream that is under way: the status by which it has to end."""

    def check(
        path: bytes, caller: Caller, peer: dict[str, list[bytes]], headers: Any, address: str
    ) -> grpc.Status | None:
        authorization = None
        if caller.by_token:
            authorization = next((value.decode("latin-1") for name, value in headers if name == _AUTHORIZATION), None)
        found = guard.ended(caller, peer, authorization)
        if found is None:
            return None
        note_refused(path.decode("utf-8", "replace"), found, address)
        status: grpc.Status = _status(found)
        return status

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
        behavior = behavior_of(handler)

        async def one(request: Any, context: Any) -> Any:
            known = await self._checked(path, context)
            if handler.request_streaming:
                return await awaited(behavior(request, known), lambda: self._look(path, known))
            return await behavior(request, known)

        async def many(request: Any, context: Any) -> Any:
            known = await self._checked(path, context)
            answers = behavior(request, known)
            if hasattr(answers, "__aiter__"):
                async for answer in iterated(answers, lambda: self._look(path, known)):
                    yield answer
            else:  # it writes by the context
                await awaited(answers, lambda: self._look(path, known))

        return with_behavior(handler, one, many)

    async def _look(self, path: str, context: CallerContext) -> None:
        """Ends a stream that is under way where what it was opened with counts no more."""
        authorization = None
        if context.caller.by_token:
            said = context.invocation_metadata() or ()
            authorization = next((value for name, value in said if name == AUTHORIZATION), None)
        found = self._guard.ended(context.caller, context.auth_context(), authorization)
        if found is not None:
            note_refused(path, found, context.peer())
            await context.abort_with_status(_status(found))

    async def _checked(self, path: str, context: Any) -> Any:
        """The context, which knows who calls."""
        told = authorization = None
        for name, value in context.invocation_metadata() or ():
            if name == CALLER_HEADER:
                told = value
            elif name == AUTHORIZATION:
                authorization = value if authorization is None else ""
        found = self._guard.judge_peer(path, context.auth_context(), told, authorization)
        if isinstance(found, Refusal):
            note_refused(path, found, context.peer())
            await context.abort_with_status(_status(found))
            raise AssertionError("an aborted call goes on")
        return CallerContext(context, found)


def _status(refusal: Refusal) -> Any:
    error = UnauthenticatedError if refusal.unauthenticated else PermissionDeniedError
    return rpc_status.to_status(to_rpc_status(error(refusal.text, reason=refusal.reason)))
