"""A real node in this process, over real gRPC."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc.aio

from fasttree.v1 import treenode_pb2, treenode_pb2_grpc, types_pb2
from services.shared.config.sections import ClusterSettings
from services.shared.serving.channels import open_channel
from services.treenode.app import TreeNode
from services.treenode.imports.reading import ImportLimits
from services.treenode.settings import TreeNodeSettings
from tests.fakes.pusher import FakePusher
from tests.fakes.pusher_stream import AnyNode, instant_of
from tests.fakes.server import CLUSTER


@contextlib.asynccontextmanager
async def running_node(
    folder: Path,
    *,
    name: str = "n1",
    coordinator: str = "",
    limits: ImportLimits | None = None,
    cluster: ClusterSettings | None = None,
    **settings: Any,
) -> AsyncIterator[TreeNode]:
    """A node on free ports, with its state in the folder; drained at the end."""
    node_settings = TreeNodeSettings.of(
        name=name,
        listen_host="127.0.0.1",
        report_port=0,
        instant_port=0,
        http_port=0,
        state_folder=str(folder),
        **{"drain_notice_s": 0.0, "drain_grace_s": 1.0, **settings},
    )
    cluster = cluster or ClusterSettings(name=CLUSTER, coordinator=coordinator)
    node = TreeNode(node_settings, cluster, limits or ImportLimits())
    await node.start()
    try:
        yield node
    finally:
        await node.stop()


async def load_import(
    node: AnyNode,
    pusher: FakePusher,
    manifest: types_pb2.ImportManifest,
    sources: Sequence[str] | None = None,
    log_id: str = "",
    carried_of: int | None = None,
) -> list[treenode_pb2.LoadImportResponse]:
    """Asks the node to take an import; every message until the stream's end. A refusal is its last one."""
    request = treenode_pb2.LoadImportRequest(
        manifest=manifest,
        sources=[pusher.address] if sources is None else sources,
        pusher_address=pusher.address,
        log_id=log_id,
        carried_of_import_id=carried_of,
    )
    responses: list[treenode_pb2.LoadImportResponse] = []
    async with open_channel(instant_of(node)) as channel:
        stub = treenode_pb2_grpc.TreeNodeServiceStub(channel)
        try:
            async for response in stub.LoadImport(request):
                responses.append(response)  # noqa: PERF401 - what came before a failure counts
        except grpc.aio.AioRpcError as error:
            refused = bool(responses) and responses[-1].phase == treenode_pb2.IMPORT_PHASE_REFUSED
            if not refused or error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
                raise
    return responses
