"""The cluster, once and again and again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias

import grpc

from fasttree.client.calls.retries import Retries, Waits, heed_cancellation, with_retries
from fasttree.client.calls.servers import Servers
from fasttree.client.errors import call_error
from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc

_Coordinators: TypeAlias = "Servers[coordinator_pb2_grpc.CoordinatorServiceAsyncStub]"
#: What the active coordinator has to answer in, in seconds, where one that stands by has answered already.
_ACTIVE_S = 1.0


async def get_cluster(coordinators: _Coordinators, retries: Retries) -> coordinator_pb2.Cluster:
    """The cluster as the active coordinator sees it; as one that stands by was told last, where the active one can't be
    reached. Raises a CallError."""
    request = coordinator_pb2.GetClusterRequest()
    answer = await with_retries(
        lambda left_s: coordinators.stub.GetCluster(request, timeout=left_s),
        retries,
        called="GetCluster",
        address=coordinators.address,
        elsewhere=coordinators,
    )
    told = answer.cluster
    if not told.standby:
        return told
    # That may be of before a takeover: so each of the others is asked, and the next call goes to the active one.
    views = await coordinators.ask_each(lambda stub: stub.GetCluster(request, timeout=_ACTIVE_S), told.coordinator)
    for address, view in views:
        if not view.cluster.standby:
            coordinators.aim(address)
            return view.cluster
    return max((told, *(view.cluster for _, view in views)), key=_said_at)


def _said_at(cluster: coordinator_pb2.Cluster) -> tuple[int, int]:
    return cluster.observed_at.seconds, cluster.observed_at.nanos


async def watch_cluster(coordinators: _Coordinators, retries: Retries) -> AsyncIterator[coordinator_pb2.Cluster]:
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
            heed_cancellation()
            if not coordinators.may_retry(error):
                raise call_error(error, "WatchCluster", coordinators.address) from error
            if coordinators.missed(error):
                continue
        await asyncio.sleep(waits.next_s())
