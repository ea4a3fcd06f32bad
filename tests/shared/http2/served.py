"""The server of this project by itself, with a service behind it."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import cast

import grpc

from fasttree.v1 import report_pb2, report_pb2_grpc, types_pb2
from services.shared.serving.connections import Connections
from services.shared.serving.http2.limits import Limits
from services.shared.serving.http2.server import Http2Server

#: More than all sockets between a server and its client hold.
LARGE = 50_000_000
#: What is compared with grpcio: the rest are its own affairs.
NAMED = (
    "peer_dns",
    "peer_uri",
    "security_level",
    "transport_security_type",
    "x509_common_name",
    "x509_pem_cert",
    "x509_subject_alternative_name",
)


class Reports(report_pb2_grpc.ReportServiceServicer):
    """Tells a caller who it is."""

    async def GetMember(self, request, context):
        identity = {
            "context": {key: [value.decode() for value in context.auth_context().get(key, ())] for key in NAMED},
            "identities": [one.decode() for one in context.peer_identities() or ()],
            "key": context.peer_identity_key() or "",
            "peer": context.peer().partition(":")[0],
        }
        return report_pb2.GetMemberResponse(member=types_pb2.Member(member_id=json.dumps(identity)))

    async def BatchGetMembers(self, request, context):
        return report_pb2.BatchGetMembersResponse(members=[types_pb2.Member(member_id="x" * LARGE)])

    async def StreamDownline(self, request, context):
        for number in range(int(request.member_id)):
            yield report_pb2.StreamDownlineResponse(as_of=types_pb2.AsOf(position=number))


class Served:
    """The server of this project, with its figures."""

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        service: report_pb2_grpc.ReportServiceServicer | None = None,
        **limits: float,
    ) -> None:
        self.counts = Connections("report")
        refusal = ("too many", ())
        self.server = Http2Server(Limits(**limits), 100, 3, refusal, self.counts)  # type: ignore[arg-type]
        report_pb2_grpc.add_ReportServiceServicer_to_server(service or Reports(), cast(grpc.aio.Server, self.server))
        #: For the next connection; None: no TLS.
        self.context = context

    async def __aenter__(self) -> Served:
        self.port = await self.server.start("127.0.0.1:0", self._now if self.context else None)
        self.address = f"localhost:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop(0)

    def _now(self) -> ssl.SSLContext:
        assert self.context is not None
        return self.context

    async def raw(self, context: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host = None if context is None else "localhost"
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname=host)
