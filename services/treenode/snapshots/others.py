"""Who else is in the cluster, as the coordinators say."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import grpc.aio

from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.shared.membership.peers import listed_peers
from services.shared.serving.channels import open_channel
from services.treenode.node.runner import NodeRunner

CALL_TIMEOUT_S = 5.0

_READY = (coordinator_pb2.NODE_STATE_PASSIVE, coordinator_pb2.NODE_STATE_PRIMARY)

logger = logging.getLogger(__name__)


async def told_nodes(node: NodeRunner) -> Sequence[coordinator_pb2.ClusterNode] | None:
    """Every node that a coordinator knows; None where none answers."""
    for coordinator in filter(None, node.cluster.coordinator.split(",")):
        try:
            async with open_channel(coordinator) as channel:
                stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
                answer = await stub.GetCluster(coordinator_pb2.GetClusterRequest(), timeout=CALL_TIMEOUT_S)
            return answer.cluster.nodes
        except grpc.aio.AioRpcError as error:
            logger.warning("coordinator %s can't name peers: %s", coordinator, error.details())
    return None


async def ready_peers(node: NodeRunner, own_instant_address: str) -> list[str]:
    """Instant addresses of the other nodes, the furthest ready one first; without a coordinator, the listed ones."""
    nodes = await told_nodes(node)
    if nodes is None:
        return await listed_peers(node.cluster, own_instant_address)
    peers = [
        peer for peer in nodes if peer.alive and peer.status.state in _READY and peer.address.name != node.settings.name
    ]
    peers.sort(key=lambda peer: (peer.status.import_id, peer.status.position), reverse=True)
    return [peer.address.instant for peer in peers]
