"""Watching the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc

from fasttree.client.calls.retries import Retries, Waits
from fasttree.client.calls.servers import Servers
from fasttree.client.errors import call_error
from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc


async def watch_cluster(
    coordinators: Servers[coordinator_pb2_grpc.CoordinatorServiceAsyncStub], retries: Retries
) -> AsyncIterator[coordinator_pb2.Cluster]:
    """The cluster at once, then after each change and at least every second. Comes back after a break, for ever: a
    coordinator that is away is what a watcher has to live through. Raises a CallError for what a retry can't mend."""
    waits = Waits(retries)
    while True:
        try:
            async for response in coordinators.stub.WatchCluster(coordinator_pb2.WatchClusterRequest()):
                waits.reset()
                coordinators.answered()
                yield response.cluster
        except grpc.aio.AioRpcError as error:
            if not coordinators.may_retry(error):
                raise call_error(error, "WatchCluster", coordinators.address) from error
            if coordinators.missed(error):
                continue
        await asyncio.sleep(waits.next_s())
