"""What a server wrote of a refusal is read, whatever else came with it."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from fasttree.client.errors import error_info, has_details


def failed(words: str, details: bytes | None) -> grpc.aio.AioRpcError:
    trailers = grpc.aio.Metadata(*([] if details is None else [("grpc-status-details-bin", details)]))
    return grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), trailers, details=words)


def written(words: str) -> bytes:
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason="STANDBY", metadata={"active": "127.0.0.1:1"}))
    return bytes(status_pb2.Status(code=14, message=words, details=[detail]).SerializeToString())


@pytest.mark.parametrize("words", ["the pusher is stopping", "Stream removed (Socket closed (GOAWAY received))"])
def test_a_reason_is_read_beside_the_words_of_a_connection_that_ends(words: str) -> None:
    error = failed(words, written("the pusher is stopping"))
    info = error_info(error)
    assert has_details(error)
    assert info is not None
    assert (info.reason, dict(info.metadata)) == ("STANDBY", {"active": "127.0.0.1:1"})


@pytest.mark.parametrize("details", [None, b"", b"\xff\xff", status_pb2.Status(code=14).SerializeToString()])
def test_where_none_is_written_there_is_none(details: bytes | None) -> None:
    assert error_info(failed("gone", details)) is None
