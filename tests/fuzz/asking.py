"""Calls of a service that runs in this process, made of an input's bytes: any call, any requests, any end.

An input is: a byte that says which call; one of how its client behaves (below); then requests. The only request of a
call is all that is left; of a stream, each has two bytes with its length before it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from google.protobuf import message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError

from services.shared.serving.errors import FastTreeError
from tests.fuzz.target import Run

#: How a client behaves. `LEAVES`: it goes once it has an answer. `OPEN`: it says nothing more after its last request,
#: and does not end either. `RAW`: the service's own shaping of requests does not take place.
LEAVES, OPEN, RAW = 1, 2, 4
#: What may come of a call.
REFUSALS = (FastTreeError, DecodeError)
_REQUESTS_MAX, _ANSWERS_MAX = 64, 64
#: Turns of the loop that an answer has before anything is waited for.
_TURNS = 40
#: A call that was left has to end in that time.
_ENDS_S = 60.0


#: Ends what `asking` began.
_under_way: list[Callable[[], object]] = []


def end_all() -> None:
    """Ends every service that was begun in this process; what was given to ask them can't be used any more."""
    while _under_way:
        _under_way.pop()()


class Context:
    """What a handler asks of its call."""

    def __init__(self) -> None:
        self._done: list[Callable[[Any], object]] = []

    def time_remaining(self) -> float | None:
        return 0.05

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    def auth_context(self) -> dict[str, list[bytes]]:
        return {}

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    def cancelled(self) -> bool:
        return False

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        self._done.append(callback)

    def end(self) -> None:
        """The call is over."""
        for callback in self._done:
            callback(self)


class Method(NamedTuple):
    """One call."""

    name: str
    handler: Callable[[Any, Any], Any]
    request: type[Any]
    streams: bool


class Names:
    """Has every call, for their names alone."""

    def __getattr__(self, name: str) -> None:
        return None


def methods_of(services: Sequence[tuple[ServiceDescriptor, object]]) -> list[Method]:
    """Every call of these services."""
    return [
        Method(
            method.name,
            getattr(servicer, method.name),
            message_factory.GetMessageClass(method.input_type),
            method.client_streaming,
        )
        for descriptor, servicer in services
        for method in descriptor.methods
    ]


def input_of(method: int, requests: Sequence[Any], behaves: int = 0, *, streams: bool) -> bytes:
    """The bytes that make these requests."""
    said = [each.SerializeToString() for each in requests]
    rest = b"".join(len(each).to_bytes(2, "big") + each for each in said) if streams else b"".join(said)
    return bytes((method, behaves)) + rest


def plain_inputs(services: Sequence[tuple[ServiceDescriptor, object]], given: dict[str, list[Any]]) -> list[bytes]:
    """To begin with: every call with an empty request, and with those that are given by its name."""
    found = []
    for place, method in enumerate(methods_of(services)):
        asked = [method.request(), *given.get(method.name, [])]
        found += [input_of(place, [each], streams=method.streams) for each in asked]
        if method.streams and method.name in given:
            found.append(input_of(place, given[method.name], streams=True))
    return found


class Asked(NamedTuple):
    """A service under fuzzing."""

    methods: list[Method]
    #: Ends the service.
    end: Callable[[], Coroutine[Any, Any, object]]
    #: Raises where something broke that no call tells.
    check: Callable[[], object]
    #: Makes requests such that more of them are taken.
    shaped: Callable[[Any], None] = lambda request: None
    #: What is done to a request whatever its input says: no address of one is dialled.
    safe: Callable[[Any], None] = lambda request: None
    #: So long a call is waited for, in seconds, before its client leaves; 0: nothing happens outside of the loop.
    patience_s: float = 0.0
    #: Once a call is over: what has to be over as well.
    after: Callable[[int], Awaitable[object]] | None = None


def asking(made: Callable[[], Coroutine[Any, Any, Asked]]) -> Run:
    """What is given each input. `made` runs on the loop that the calls are made on."""
    loop = asyncio.new_event_loop()

    asked = loop.run_until_complete(made())

    def end() -> None:
        loop.run_until_complete(_ended(asked))
        loop.close()

    _under_way.append(end)

    def run(data: bytes) -> None:
        if len(data) < 2:
            return
        method = asked.methods[data[0] % len(asked.methods)]
        requests = _requests(method, data[2:])
        for request in requests:
            asked.safe(request)
            if not data[1] & RAW:
                asked.shaped(request)
        loop.run_until_complete(_call(asked, method, requests, data[1]))

    return run


async def _ended(asked: Asked) -> None:
    """Ends the service, and then whatever goes on all the same."""
    await asked.end()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for each in left:
        each.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


def _requests(method: Method, data: bytes) -> list[Any]:
    """Raises DecodeError."""
    if not method.streams:
        return [method.request.FromString(data)]
    found: list[Any] = []
    while data and len(found) < _REQUESTS_MAX:
        size = int.from_bytes(data[:2], "big")
        found.append(method.request.FromString(data[2 : 2 + size]))
        data = data[2 + size :]
    return found


async def _call(asked: Asked, method: Method, requests: list[Any], behaves: int) -> None:
    context = Context()
    call = asyncio.ensure_future(_answers(method, requests, behaves, context))
    try:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
            if call.done():
                break
        if not call.done() and asked.patience_s:
            await asyncio.wait({call}, timeout=asked.patience_s)
        if not call.done():
            call.cancel()
            await asyncio.wait({call}, timeout=_ENDS_S)
            assert call.done(), f"{method.name} goes on though its client has left"
    finally:
        context.end()
        if asked.after is not None:
            await asked.after(behaves)
    asked.check()
    if not call.cancelled():
        call.result()


async def _answers(method: Method, requests: list[Any], behaves: int, context: Context) -> None:
    answer = method.handler(_said(requests, behaves) if method.streams else requests[0], context)
    if not inspect.isasyncgen(answer):
        await answer
        return
    try:
        count = 0
        async for _ in answer:
            count += 1
            if behaves & LEAVES or count >= _ANSWERS_MAX:
                break
    finally:
        await answer.aclose()


async def _said(requests: list[Any], behaves: int) -> AsyncIterator[Any]:
    for request in requests:
        yield request
        await asyncio.sleep(0)
    if behaves & OPEN:
        await asyncio.Event().wait()
