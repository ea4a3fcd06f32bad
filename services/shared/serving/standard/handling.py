"""A handler as every server calls it: counted, traced, written down, and one way from an exception to a status."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
from grpc_status import rpc_status

from services.shared.serving.calls import Calls
from services.shared.serving.errors import (
    FastTreeError,
    PermissionDeniedError,
    UnauthenticatedError,
    to_rpc_status,
)
from services.shared.serving.standard.auditing import note_denied, written_down

logger = logging.getLogger(__name__)

#: Answers a unary call's request, both as bytes, without its handler; None, or any exception, where the handler is to
#: do it. It must not wait, and only reads.
AtOnce = Callable[[bytes], bytes | None]


def behavior_of(handler: Any) -> Any:
    """What a handler calls, of whichever of gRPC's four kinds it is."""
    return handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream


def with_behavior(handler: Any, one: Any, many: Any) -> Any:
    """A handler of the same kind that calls another: `one` where there is one response, `many` where they stream."""
    serializers = (handler.request_deserializer, handler.response_serializer)
    if handler.unary_unary:
        return grpc.unary_unary_rpc_method_handler(one, *serializers)
    if handler.stream_unary:
        return grpc.stream_unary_rpc_method_handler(one, *serializers)
    make = grpc.unary_stream_rpc_method_handler if handler.unary_stream else grpc.stream_stream_rpc_method_handler
    return make(many, *serializers)


def named(method: str, handler: Any, calls: Calls) -> Any:
    """The handler, with a FastTreeError answered by its status and details, and anything else by INTERNAL and a line in
    the log."""
    if not method.startswith("/fasttree."):
        return handler
    behavior = behavior_of(handler)
    return with_behavior(handler, _unary(behavior, method, calls), _stream(behavior, method, calls))


def counted(answer: AtOnce, method: str, calls: Calls) -> AtOnce:
    """The answer at once, among the calls that are counted."""
    name, ok = calls.name_of(method), grpc.StatusCode.OK.name

    def at_once(request: bytes) -> bytes | None:
        begun = time.perf_counter()
        try:
            found = answer(request)
        except Exception:
            return None  # its handler meets the same, and tells
        if found is not None:
            calls.note(name, ok, begun)
        return found

    return at_once


def _unary(behavior: Any, method: str, calls: Calls) -> Any:
    name, spans, behavior = calls.name_of(method), calls.spans, written_down(method, behavior)

    async def call(request: Any, context: Any) -> Any:
        begun, code = calls.begin(name), grpc.StatusCode.OK.name
        span = None if spans is None else spans.begin(context)
        try:
            return await behavior(request, context)
        except Exception as error:
            code = _code_of(error)
            await _abort(error, method, context)
        except BaseException:  # its caller has left
            code = grpc.StatusCode.CANCELLED.name
            raise
        finally:
            calls.end(name, code, begun, 0 if span is None else span.context.trace_id)
            if spans is not None and span is not None:
                spans.end(method, code, span)

    return call


def _stream(behavior: Any, method: str, calls: Calls) -> Any:
    name, spans = calls.name_of(method), calls.spans

    async def call(request: Any, context: Any) -> Any:
        begun, code = calls.begin(name), grpc.StatusCode.OK.name
        span = None if spans is None else spans.begin(context)
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
            calls.end(name, code, begun, 0 if span is None else span.context.trace_id)
            if spans is not None and span is not None:
                spans.end(method, code, span)

    return call


def _code_of(error: Exception) -> str:
    """What its caller is told; a fault of ours is INTERNAL."""
    code: grpc.StatusCode = error.code if isinstance(error, FastTreeError) else FastTreeError.code
    return code.name


async def _abort(error: Exception, method: str, context: Any) -> None:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, FastTreeError):
        if isinstance(error, PermissionDeniedError | UnauthenticatedError):
            note_denied(method, error, context)
        await context.abort_with_status(rpc_status.to_status(to_rpc_status(error)))
    logger.error("%s failed", method, exc_info=error)
    # With details, so that a client can tell a server's fault from a broken connection, which it may try again.
    fault = FastTreeError(f"{method} failed: {type(error).__name__}; the server's log has more")
    await context.abort_with_status(rpc_status.to_status(to_rpc_status(fault)))
