"""Registers the report service on a server, so that a handler may answer with bytes that are encoded already."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.message import Message

from fasttree.v1 import report_pb2

SERVICE = report_pb2.DESCRIPTOR.services_by_name["ReportService"]
GET_MEMBER = f"/{SERVICE.full_name}/GetMember"


def serialized(answer: Message | bytes) -> bytes:
    """The wire form of an answer; one that is bytes already goes out as it is."""
    return answer if isinstance(answer, bytes) else answer.SerializeToString()


def add_report_service(servicer: object, server: grpc.aio.Server) -> None:
    """Registers each call of the service, which `servicer` has under the call's name, as `ReportServicer` does; takes
    the place of the generated add_ReportServiceServicer_to_server, whose serializers would not let bytes pass."""
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in SERVICE.methods:
        make = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        handlers[method.name] = make(
            getattr(servicer, method.name),
            request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
            response_serializer=serialized,
        )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE.full_name, handlers),))
    server.add_registered_method_handlers(SERVICE.full_name, handlers)
