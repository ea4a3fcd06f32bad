"""What a coordinator that stands by knows of the cluster: as the active one said it last."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable

import grpc.aio

from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.shared.backoff import Backoff, Waits
from services.shared.serving.channels import open_channel

#: The active one speaks at least every second; longer silence means that the stream is dead.
_SILENCE_MAX_S = 3.0


class ActiveView:
    """Watches the active coordinator, whichever it is.

    Args:
        active: host:port of the active one; empty while it is not known.
    """

    def __init__(self, active: Callable[[], str]) -> None:
        self._active = active
        #: What it said last; None before the first word of any.
        self.cluster: coordinator_pb2.Cluster | None = None

    async def run(self) -> None:
        """Goes on until it is cancelled. What can't be heard stays as it was: the view says when it is of."""
        waits = Waits(Backoff(0.05, 0.5, random.random))
        while True:
            if address := self._active():
                with contextlib.suppress(grpc.aio.AioRpcError, TimeoutError):
                    await self._watch(address, waits)
            await asyncio.sleep(waits.next_s())

    async def _watch(self, address: str, waits: Waits) -> None:
        async with open_channel(address) as channel:
            call = coordinator_pb2_grpc.CoordinatorServiceStub(channel).WatchCluster(
                coordinator_pb2.WatchClusterRequest()
            )
            while address == self._active():
                async with asyncio.timeout(_SILENCE_MAX_S):
                    response = await call.read()
                if not isinstance(response, coordinator_pb2.WatchClusterResponse):
                    return
                waits.reset()
                self.cluster = response.cluster
