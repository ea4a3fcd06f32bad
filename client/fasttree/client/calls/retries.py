"""When a call may be made again, and how long to wait before.

Reports are reads: making one again changes nothing, so each is retried on UNAVAILABLE, and on what a reset stream looks
like (UNKNOWN, INTERNAL or CANCELLED that no server wrote), until the call's deadline. A status that a server wrote with
details is final. The wait doubles and is spread at random, so that many clients do not come back at one moment.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from typing import Protocol, TypeVar

import grpc

from fasttree.client.errors import ClientClosedError, call_error, has_details, is_not_trusted

Answer = TypeVar("Answer")

#: What a cut connection, a killed server or a proxy without a backend looks like, where no server wrote the status.
_TRANSPORT_CODES = frozenset(
    {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}
)
#: Longest time that a call may be told to wait.
SECONDS_MAX = 366 * 86_400.0


def seconds(name: str, value: float) -> float:
    """A time that a call can be told to wait, as it is. Raises ValueError."""
    if not (isinstance(value, int | float) and 0 < value <= SECONDS_MAX):  # NaN is neither
        raise ValueError(f"{name} is {value!r:.40}: give seconds, more than 0 and {SECONDS_MAX:,.0f} (a year) at most")
    return value


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How patient calls are. Raises ValueError where a time is none, or longer than a year."""

    #: For a call with all its attempts.
    timeout_s: float = 10.0
    #: Of pushes, uploads and watches whose options don't say: given up when nothing came, or nobody was to be had,
    #: for so long. None: 30 s for a push, 60 s for the others.
    patience_s: float | None = None
    #: First wait.
    wait_s: float = 0.02
    #: Longest wait.
    wait_s_max: float = 1.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None or each.name != "patience_s":
                seconds(f"Retries.{each.name}", value)


def patience_s(asked_s: float | None, retries: Retries, own_s: float) -> float:
    """How patient a push, an upload or a watch is: as its options say, or the client's, or as it is by itself."""
    if asked_s is not None:
        return seconds("patience_s", asked_s)
    return own_s if retries.patience_s is None else retries.patience_s


def may_retry(error: grpc.aio.AioRpcError) -> bool:
    """Whether a read may be made again after this."""
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return not is_not_trusted(error)
    return error.code() in _TRANSPORT_CODES and not has_details(error)


def heed_cancellation() -> None:
    """Before a call is made again: one that fails in the moment in which its task is cancelled tells of its failure
    alone (grpcio's tasks keep a cancellation to themselves). Raises CancelledError."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Elsewhere(Protocol):
    """Servers of which another one may be asked; see `calls/servers.py`."""

    def may_retry(self, error: grpc.aio.AioRpcError) -> bool:
        """Whether the call may be made again after this."""

    def missed(self, error: grpc.aio.AioRpcError) -> bool:
        """Goes on to another one; whether without a wait."""

    @property
    def wait_s_max(self) -> float:
        """How long the next attempt may be put off, where it is not to go without a wait."""


class Waits:
    """The waits between attempts: doubling, each spread between half and whole; back to the first by `reset`."""

    def __init__(self, retries: Retries) -> None:
        self._retries = retries
        self._next_s = retries.wait_s

    def reset(self) -> None:
        self._next_s = self._retries.wait_s

    def next_s(self) -> float:
        wait_s = self._next_s * random.uniform(0.5, 1.0)
        self._next_s = min(self._next_s * 2, self._retries.wait_s_max)
        return wait_s


def closed_error(called: str, address: str) -> ClientClosedError:
    """What a call is told whose client is closed."""
    return ClientClosedError(f"{called} at {address}: the client is closed; ask by another one")


async def with_retries(
    attempt: Callable[[float], Awaitable[Answer]],
    retries: Retries,
    *,
    called: str,
    address: str,
    elsewhere: Elsewhere | None = None,
) -> Answer:
    """Calls `attempt(seconds left)` until it answers, fails for good, or the deadline passes. Raises a CallError.

    `elsewhere`: where the next attempt goes to another server.
    """
    deadline = time.monotonic() + retries.timeout_s
    waits = Waits(retries)
    unavailable: grpc.aio.AioRpcError | None = None
    while True:
        try:
            return await attempt(max(deadline - time.monotonic(), 0.001))
        except grpc.aio.UsageError as error:  # by a channel that is closed
            raise closed_error(called, address) from error
        except asyncio.CancelledError as error:
            # Closing a channel cancels its calls. Nobody has cancelled whoever waits here.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise closed_error(called, address) from error
        except grpc.aio.AioRpcError as error:
            heed_cancellation()
            # When the last attempt merely ran out of time, what went wrong before it is the better story.
            story = unavailable if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and unavailable else error
            again = may_retry(error) if elsewhere is None else elsewhere.may_retry(error)
            wait_s = 0.0
            if elsewhere is None:
                wait_s = waits.next_s()
            elif again and not elsewhere.missed(error):
                wait_s = min(waits.next_s(), elsewhere.wait_s_max)
            if not again or time.monotonic() + wait_s >= deadline:
                raise call_error(story, called, address) from error
            unavailable = error
            await asyncio.sleep(wait_s)
