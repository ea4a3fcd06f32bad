"""A server whose GetMember does nothing: what gRPC itself costs, to compare a real node with.

python -m bench.reports.empty_server 127.0.0.1:50100
"""

from __future__ import annotations

import sys
from typing import Any

import grpc
import grpc.aio

from fasttree.v1 import report_pb2
from services.shared.serving.background import Background
from services.shared.serving.process import run
from services.shared.serving.server import GrpcServer

_SERVICE = "fasttree.v1.ReportService"


async def _get_member(request: report_pb2.GetMemberRequest, context: Any) -> report_pb2.GetMemberResponse:
    return report_pb2.GetMemberResponse()


def _add_empty(_: None, server: grpc.aio.Server) -> None:
    handler = grpc.unary_unary_rpc_method_handler(
        _get_member,
        request_deserializer=report_pb2.GetMemberRequest.FromString,
        response_serializer=report_pb2.GetMemberResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"GetMember": handler}),))
    server.add_registered_method_handlers(_SERVICE, {"GetMember": handler})


class EmptyService:
    """The server as a process."""

    def __init__(self) -> None:
        self.background = Background()
        self._server = GrpcServer(sys.argv[1], services=[(_add_empty, None)], service_names=[_SERVICE])

    async def stop(self) -> None:
        await self._server.stop(0)

    @classmethod
    async def started(cls) -> EmptyService:
        service = cls()
        await service._server.start()
        return service


if __name__ == "__main__":
    run(EmptyService.started)
