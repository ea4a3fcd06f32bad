"""An OpenTelemetry collector: takes OTLP over gRPC, and keeps what came."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span


def values(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    """Attributes as a dict."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value") for each in attributes}


@dataclass
class Collector(trace_service_pb2_grpc.TraceServiceServicer, metrics_service_pb2_grpc.MetricsServiceServicer):
    """A context manager; `address` from then on, which stays when it is left and entered again."""

    address: str = "127.0.0.1:0"
    #: Each with what its process says of itself.
    spans: list[tuple[dict[str, Any], Span]] = field(default_factory=list)
    #: By service and instance; each as it came last, by its name.
    metrics: dict[tuple[str, str], dict[str, Metric]] = field(default_factory=dict)
    #: Of the last call.
    headers: dict[str, Any] = field(default_factory=dict)

    async def __aenter__(self) -> Collector:
        self._server = grpc.aio.server()
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        port = self._server.add_insecure_port(self.address)
        self.address = f"127.0.0.1:{port}"
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)

    async def Export(self, request: Any, context: Any) -> Any:
        """Of both services: their requests say which it is."""
        self.headers = dict(context.invocation_metadata())
        if isinstance(request, trace_service_pb2.ExportTraceServiceRequest):
            for sent in request.resource_spans:
                resource = values(sent.resource.attributes)
                self.spans += [(resource, span) for scope in sent.scope_spans for span in scope.spans]
            return trace_service_pb2.ExportTraceServiceResponse()
        for told in request.resource_metrics:
            resource = values(told.resource.attributes)
            known = self.metrics.setdefault((resource["service.name"], resource["service.instance.id"]), {})
            known.update({metric.name: metric for scope in told.scope_metrics for metric in scope.metrics})
        return metrics_service_pb2.ExportMetricsServiceResponse()

    def named(self, name: str, trace_id: bytes = b"") -> list[tuple[dict[str, Any], Span]]:
        """The spans of that name (of that trace)."""
        return [
            (resource, span)
            for resource, span in self.spans
            if span.name == name and (not trace_id or span.trace_id == trace_id)
        ]
