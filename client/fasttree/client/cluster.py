"""Watching the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc

from fasttree.client.calls.retries import Retries, Waits, may_retry
from fasttree.client.errors import call_error
from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc


async def watch_cluster(
    stub: coordinator_pb2_grpc.CoordinatorServiceAsyncStub, address: str, retries: Retries
) -> AsyncIterator[coordinator_pb2.Cluster]:
    """The cluster at once, then after each change and at least every second. Comes back after a break, for ever: a
    coordinator that is away is what a watcher has to live through. Raises a CallError for what a retry can't mend."""
    waits = Waits(retries)
    while True:
        try:
            async for response in stub.WatchCluster(coordinator_pb2.WatchClusterRequest()):
                waits.reset()
                yield response.cluster
        except grpc.aio.AioRpcError as error:
            if not may_retry(error):
                raise call_error(error, "WatchCluster", address) from error
        await asyncio.sleep(waits.next_s())
