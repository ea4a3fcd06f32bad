"""Heartbeats of nodes that nobody knows, and watchers without number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from bench.attack.target import NotHeldOffError, Target, only, refused
from fasttree.v1 import coordinator_pb2

_INVALID = grpc.StatusCode.INVALID_ARGUMENT
_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
#: What GetCluster may come to, with all nodes that it takes.
_CLUSTER_BYTES_MAX = 256 << 10


async def _beats(
    target: Target, name: str, address: str, status: coordinator_pb2.NodeStatus, count: int = 3
) -> list[coordinator_pb2.KeepAliveResponse]:
    """Heartbeats of a node that calls itself so; returns the answers."""
    cluster = (await target.coordinator.GetCluster(coordinator_pb2.GetClusterRequest())).cluster.name
    node = coordinator_pb2.NodeAddress(name=name, report=address, instant=address, http=address)

    async def requests() -> AsyncIterator[coordinator_pb2.KeepAliveRequest]:
        for number in range(1, count + 1):
            yield coordinator_pb2.KeepAliveRequest(
                cluster=cluster, node=node, status=status, sequence=number, incarnation="attack"
            )
            await asyncio.sleep(0.1)

    return [answer async for answer in target.coordinator.KeepAlive(requests())]


async def _cluster(target: Target) -> coordinator_pb2.Cluster:
    """What the coordinator says, within bounds."""
    answer = await target.coordinator.GetCluster(coordinator_pb2.GetClusterRequest(), timeout=10)
    if answer.ByteSize() > _CLUSTER_BYTES_MAX:
        raise NotHeldOffError(f"GetCluster answers with {answer.ByteSize():,} bytes")
    return answer.cluster


async def epochs(target: Target) -> str:
    """Nodes that know of elections which never were: the largest number there is, and large jumps."""
    before = (await _cluster(target)).epoch
    for known in (2**64 - 1, 2**63 - 1, 2**63 - 2, 2**62, before + 2**40):
        status = coordinator_pb2.NodeStatus(state=coordinator_pb2.NODE_STATE_JOINING, known_epoch=known)
        await refused(_beats(target, "stranger", "127.0.0.1:1", status), _INVALID, _PRECONDITION, what=f"epoch {known}")
    after = (await _cluster(target)).epoch
    if after != before:
        raise NotHeldOffError(f"epoch {before} became {after}")
    return "each refused"


async def addresses(target: Target) -> str:
    """Addresses of megabytes, of other schemes, with control characters; names that a shell would run."""
    status = coordinator_pb2.NodeStatus(state=coordinator_pb2.NODE_STATE_JOINING)
    bad_addresses = (
        "A" * 301,
        "A" * (3 << 20),
        "unix:/tmp/x",
        "dns://8.8.8.8/x:1",
        "127.0.0.1:99999",
        "127.0.0.1:\x1b[2J",
        "127.0.0.1:1\nforged",
        "[::1",
    )
    for address in bad_addresses:
        call = _beats(target, "stranger", address, status)
        await refused(call, _INVALID, _EXHAUSTED, what=f"address {address[:30]!r}")
    for name in ("$(touch${IFS}x)", "a;b", "a\nb", "", "n" * 65, "n" * (3 << 20), "\u0661", "\x1b]0;x\x07"):
        call = _beats(target, name, "127.0.0.1:1", status)
        await refused(call, _INVALID, _EXHAUSTED, what=f"name {name[:30]!r}")
    await _cluster(target)
    return "each refused"


async def names(target: Target) -> str:
    """Three hundred nodes that nobody knows, with the furthest positions: none is elected, not all are taken."""
    # Further than any real one, of an import that was never there.
    status = coordinator_pb2.NodeStatus(
        state=coordinator_pb2.NODE_STATE_PASSIVE, import_id=2**40, position=2**40, log_id="0" * 32
    )
    taken = 0
    for number in range(target.count(300)):
        try:
            await _beats(target, f"stranger-{number}", f"127.0.0.1:{number + 1}", status, count=1)
            taken += 1
        except grpc.aio.AioRpcError as error:
            only([error.code()], _EXHAUSTED, _INVALID, _PRECONDITION, what="a heartbeat")
    cluster = await _cluster(target)
    if cluster.primary.startswith("stranger"):
        raise NotHeldOffError(f"{cluster.primary} is primary")
    call = target.coordinator.Switchover(coordinator_pb2.SwitchoverRequest(to_node="stranger-0"), timeout=30)
    await refused(call, _PRECONDITION, _INVALID, grpc.StatusCode.NOT_FOUND, what="a switchover to a stranger")
    return f"{taken} taken as known, none elected"


async def watchers(target: Target) -> str:
    """Three thousand calls of WatchCluster."""
    stubs = [target.coordinator for _ in range(8)]
    count = target.count(3_000)
    calls = [stubs[number % 8].WatchCluster(coordinator_pb2.WatchClusterRequest()) for number in range(count)]

    async def first(call: grpc.aio.UnaryStreamCall[Any, Any]) -> grpc.StatusCode:
        try:
            await call.read()
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    found = await asyncio.wait_for(asyncio.gather(*map(first, calls)), 120)
    only(found, grpc.StatusCode.OK, _EXHAUSTED, what="a watcher")
    await asyncio.sleep(3)
    for call in calls:
        call.cancel()
    return f"{found.count(grpc.StatusCode.OK)} of {count} taken, the rest refused"


ATTACKS = (epochs, addresses, names, watchers)
