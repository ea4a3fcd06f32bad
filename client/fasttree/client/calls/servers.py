"""Several servers of one kind, of which one is active: which one is asked.

A server that stands by says so, and where the active one is; one that is away says nothing. In both cases another one
is asked at once, and a wait comes only after each has been asked in vain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import grpc

from fasttree.client.calls.channels import Channels
from fasttree.client.calls.retries import Retries, heed_cancellation, may_retry, with_retries
from fasttree.client.errors import CallError, call_error, error_info

Stub = TypeVar("Stub")
Answer = TypeVar("Answer")

#: The reason of a server that stands by.
STANDBY = "STANDBY"
#: Before servers are asked again of which one said that it stands by: one of them is about to be active.
_STANDBY_WAIT_S_MAX = 0.05


def is_standby(error: grpc.aio.AioRpcError) -> bool:
    """Whether a server said that another one is active: it did nothing of what was asked."""
    info = error_info(error)
    return info is not None and info.reason == STANDBY


class Servers(Generic[Stub]):
    """The servers of one kind.

    Args:
        channels: The connections to them.
        addresses: host:port of each, commas between.
        stub: Makes the stub of a connection.
    """

    def __init__(self, channels: Channels, addresses: str, stub: Callable[[grpc.aio.Channel], Stub]) -> None:
        self._channels = channels
        self._addresses = tuple(addresses.split(","))
        self._stub = stub
        #: Whom the next call goes to: one of the addresses, or the active one as another server named it.
        self.address = self._addresses[0]
        #: Asked in vain since one answered last.
        self._asked: set[str] = set()
        #: Whether one of those said that it stands by.
        self._one_stands_by = False
        #: How long the next round of them may be put off.
        self.wait_s_max = float("inf")

    @property
    def stub(self) -> Stub:
        """For the next call. Raises ClientClosedError once the client is closed."""
        return self._stub(self._channels.to(self.address))

    @property
    def are_several(self) -> bool:
        return len(self._addresses) > 1

    async def answer(
        self, called: str, ask: Callable[[Stub, float], Awaitable[Answer]], retries: Retries, *, once: bool = False
    ) -> Answer:
        """The active one's answer. Raises a CallError.

        Args:
            called: The RPC.
            ask: Makes the call, with that many seconds left.
            retries: How long, and how often.
            once: It must not be made twice: again only after one that stands by, which did nothing.
        """
        return await with_retries(
            lambda left_s: ask(self.stub, left_s),
            retries,
            called=called,
            address=",".join(self._addresses),
            elsewhere=_Once(self) if once else self,
        )

    def answered(self) -> None:
        """The one that was asked is the right one."""
        self._asked.clear()
        self._one_stands_by = False

    def aim(self, address: str) -> None:
        """That one is active, as somebody said who knows; empty: nobody does."""
        self.address = address or self.address

    async def active_elsewhere(self, ask: Callable[[Stub], Awaitable[object]]) -> str:
        """Where another one than that which is asked now is active, as it says itself or one that stands by; empty
        where nobody says so. A server whose machine is gone ends no connection: it may only be silent.

        `ask`: makes a small call that an active one answers; not for long."""
        others = [address for address in self._addresses if address != self.address]
        asked = [self._active_by(address, ask) for address in others]
        for told in await asyncio.gather(*asked):
            if told and told != self.address:
                return told
        return ""

    async def _active_by(self, address: str, ask: Callable[[Stub], Awaitable[object]]) -> str:
        try:
            await ask(self._stub(self._channels.to(address)))
        except grpc.aio.AioRpcError as error:
            info = error_info(error)
            return info.metadata.get("active", "") if info is not None and info.reason == STANDBY else ""
        return address

    async def ask_each(self, ask: Callable[[Stub], Awaitable[Answer]], known: str = "") -> list[tuple[str, Answer]]:
        """What those beside the one that is asked now say, with the address of each; those that say nothing are left
        out. `known`: one more that somebody named."""
        others = [address for address in dict.fromkeys((known, *self._addresses)) if address not in ("", self.address)]

        async def answer_of(address: str) -> list[tuple[str, Answer]]:
            try:
                return [(address, await ask(self._stub(self._channels.to(address))))]
            except grpc.aio.AioRpcError:
                return []

        return [answer for found in await asyncio.gather(*map(answer_of, others)) for answer in found]

    async def of_each(self, called: str, ask: Callable[[Stub], Awaitable[Answer]]) -> dict[str, Answer | CallError]:
        """What each of them says, or why it says nothing, by its address; all are asked at one time, and once."""

        async def said_at(address: str) -> Answer | CallError:
            try:
                return await ask(self._stub(self._channels.to(address)))
            except grpc.aio.AioRpcError as error:
                heed_cancellation()
                return call_error(error, called, address)

        addresses = dict.fromkeys(self._addresses)
        return dict(zip(addresses, await asyncio.gather(*map(said_at, addresses)), strict=True))

    def may_retry(self, error: grpc.aio.AioRpcError) -> bool:
        """Whether a read may be made again after this, here or at another one."""
        return may_retry(error) or is_standby(error)

    def missed(self, error: grpc.aio.AioRpcError) -> bool:
        """Goes on to another one. Whether that may be asked at once: it was not asked in vain yet."""
        self._asked.add(self.address)
        info = error_info(error)
        stands_by = info is not None and info.reason == STANDBY
        active = info.metadata.get("active", "") if info is not None and stands_by else ""
        self._one_stands_by = self._one_stands_by or stands_by
        if active and active not in self._asked:
            self.address = active
            return True
        left = [address for address in self._addresses if address not in self._asked]
        if left:
            self.address = left[0]
            return True
        # A round is over: the next one begins with whoever is said to be active, else with another one than now.
        places = len(self._addresses)
        place = self._addresses.index(self.address) if self.address in self._addresses else -1
        self.address = active or self._addresses[(place + 1) % places]
        self.wait_s_max = _STANDBY_WAIT_S_MAX if self._one_stands_by else float("inf")
        self._asked.clear()
        self._one_stands_by = False
        return False


class _Once(Generic[Stub]):
    """Servers for a call that must not be made twice: another one is asked only after one that stands by."""

    def __init__(self, servers: Servers[Stub]) -> None:
        self._servers = servers

    @property
    def wait_s_max(self) -> float:
        return self._servers.wait_s_max

    def may_retry(self, error: grpc.aio.AioRpcError) -> bool:
        """Whether nothing was done of what was asked."""
        return is_standby(error)

    def missed(self, error: grpc.aio.AioRpcError) -> bool:
        """As `Servers.missed`."""
        return self._servers.missed(error)
