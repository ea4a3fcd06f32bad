"""Calls as spans, on both servers: those whose caller is traced, with what the conventions ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest

from fasttree.v1 import report_pb2, report_pb2_grpc
from services.shared.serving.channels import open_channel
from services.shared.serving.errors import NotFoundError
from services.shared.serving.server import GrpcServer
from services.shared.serving.settings import ServingSettings
from services.shared.telemetry import own
from services.shared.telemetry.context import Parent, new_trace
from services.shared.telemetry.settings import TelemetrySettings
from services.shared.telemetry.spans import Kind, Span
from services.shared.telemetry.tracer import Tracer, current
from tests.waiting import until

GET = "fasttree.v1.ReportService/GetMember"


class Reports(report_pb2_grpc.ReportServiceServicer):
    """`seen`: what runs in a call finds as its context."""

    def __init__(self) -> None:
        self.seen: list[Parent | None] = []

    async def GetMember(self, request: report_pb2.GetMemberRequest, context: object) -> report_pb2.GetMemberResponse:
        self.seen.append(current())
        if request.member_id == "fault":
            raise RuntimeError("a fault")
        if request.member_id == "none":
            raise NotFoundError("no such member")
        return report_pb2.GetMemberResponse()


@pytest.fixture(params=["nghttp2", "grpcio"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Reports, str]]:
    # Nothing is sent within the test: the queue is what it looks at.
    own.begin(TelemetrySettings(file=str(tmp_path / "spans"), interval_s=3600, sample_ratio=0.0), "treenode", "test")
    reports = Reports()
    at_once = {f"/{GET}": lambda data: report_pb2.GetMemberResponse().SerializeToString() if data else None}
    server = GrpcServer(
        "127.0.0.1:0",
        [(report_pb2_grpc.add_ReportServiceServicer_to_server, reports)],
        ["fasttree.v1.ReportService"],
        ServingSettings(server=request.param),
        at_once=at_once,
    )
    port = await server.start()
    yield reports, f"127.0.0.1:{port}"
    await server.stop(0.0)
    own.end()


def tracer() -> Tracer:
    found = own.own_tracer()
    assert found is not None
    return found


def spans() -> list[Span]:
    return tracer().queue.take()


async def get(address: str, member_id: str, traceparent: str | None) -> str:
    metadata = None if traceparent is None else (("x-more", "1"), ("traceparent", traceparent))
    async with open_channel(address) as channel:
        stub = report_pb2_grpc.ReportServiceStub(channel)
        try:
            await stub.GetMember(report_pb2.GetMemberRequest(member_id=member_id), metadata=metadata)
        except grpc.aio.AioRpcError as error:
            return error.code().name
    return "OK"


@pytest.mark.parametrize(
    ("member_id", "code", "error"), [("M1", "OK", ""), ("none", "NOT_FOUND", ""), ("fault", "INTERNAL", "INTERNAL")]
)
async def test_a_traced_call_is_a_span_of_its_callers_trace(
    served: tuple[Reports, str], member_id: str, code: str, error: str
) -> None:
    reports, address = served
    parent = new_trace()
    assert await get(address, member_id, parent.traceparent()) == code
    await until(lambda: len(tracer().queue) == 1, "the span")  # grpcio's client may hear first
    (span,) = spans()
    assert (span.name, span.kind, span.error) == (GET, Kind.SERVER, error)
    assert (span.context.trace_id, span.parent_id) == (parent.trace_id, parent.span_id)
    wanted = {"rpc.system.name": "grpc", "rpc.method": GET, "rpc.response.status_code": code}
    assert span.attributes == (wanted | {"error.type": error} if error else wanted)
    assert reports.seen == [Parent(span.context, sampled=True)]


@pytest.mark.parametrize(
    "traceparent", [None, new_trace().traceparent()[:-2] + "00", "nonsense"], ids=["none", "not sampled", "nonsense"]
)
async def test_other_calls_are_none(served: tuple[Reports, str], traceparent: str | None) -> None:
    _, address = served
    assert await get(address, "M1", traceparent) == "OK"
    assert spans() == []


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    yield
    own.end()
