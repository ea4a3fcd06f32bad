"""The limits of callers where grpcio serves: it says who calls only once a handler runs, so they stand in its place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from services.shared.serving.callers.counting import Callers
from services.shared.serving.callers.limits import Ended
from services.shared.serving.standard.handling import behavior_of, with_behavior


class CallersInterceptor(grpc.aio.ServerInterceptor):
    """To be asked after the guard's, which knows who calls."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wraps the handler of one call."""
        handler = await continuation(handler_call_details)
        # Each call is a task, which ends with it, however it ends.
        call = asyncio.current_task()
        assert call is not None
        return None if handler is None else self._limited(handler, handler_call_details.method.encode(), call)

    def _limited(self, handler: Any, path: bytes, call: asyncio.Task[Any]) -> Any:
        behavior = behavior_of(handler)
        streams = handler.request_streaming or handler.response_streaming

        async def let_in(context: Any) -> None:
            found = self._callers.begin(getattr(context, "caller", None), context.peer(), path, streams)
            if isinstance(found, Ended):
                call.add_done_callback(lambda _: self._callers.end(found))
            elif found is not None:
                await context.abort_with_status(found)

        async def one(request: Any, context: Any) -> Any:
            await let_in(context)
            return await behavior(request, context)

        async def many(request: Any, context: Any) -> Any:
            await let_in(context)
            answers = behavior(request, context)
            if not hasattr(answers, "__aiter__"):  # it writes by the context
                await answers
                return
            async for answer in answers:
                yield answer

        return with_behavior(handler, one, many)
