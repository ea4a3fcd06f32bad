"""Each call of each service with each field at its limits: all are answered, or refused in words of ours."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from bench.attack.target import NotHeldOffError, Target
from fasttree.v1 import coordinator_pb2, import_source_pb2, pusher_pb2, report_pb2, treenode_pb2

#: An answer that streams goes on for ever: its beginning is enough.
_DEADLINE_S = 3.0
#: What a service says where it has no answer of its own.
_DEFECTS = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED)
#: Calls that change roles by themselves, whatever is in them.
_LEFT_OUT = ("Pause", "Resume", "RollbackImport")
_DEPTH = 3

_LARGE = (2**31 - 1, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
_SMALL = (-1, -(2**31), -(2**63))
_TEXTS = (
    "",
    "\0",
    "x" * 300,
    "x" * 20_000,
    "\u0661",
    "\u202e\x9b",
    "a\nb",
    "-1",
    "1e9",
    "9" * 40,
    "2026-13",
    "*",
    "../..",
)
_REALS = (float("nan"), float("inf"), float("-inf"), -1.0, 1e308)


def _values(field: FieldDescriptor) -> Iterator[Any]:
    """Values of a field that is no message; those that don't fit its type are not for it."""
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        yield from (text.encode() for text in _TEXTS) if field.type == FieldDescriptor.TYPE_BYTES else _TEXTS
    elif kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        yield from _REALS
    elif kind == FieldDescriptor.CPPTYPE_BOOL:
        yield True
    elif kind == FieldDescriptor.CPPTYPE_ENUM:
        yield from (0, 9, 2**31 - 1, -1)
    else:
        yield from (*_LARGE, *_SMALL, 0, 1)


def _put(message: Message, field: FieldDescriptor, value: Any) -> bool:
    """Sets a field; false where the value is none of its type."""
    try:
        if field.is_repeated:
            getattr(message, field.name).extend([value])
        else:
            setattr(message, field.name, value)
    except (ValueError, TypeError):
        return False
    return True


def _variants(message: Message, depth: int) -> Iterator[tuple[str, Message]]:
    """Copies of a message, each with one field at one of its limits, and the field's name."""
    fields: Any = message.DESCRIPTOR.fields
    for field in fields:
        if field.message_type is None:
            for value in _values(field):
                variant = copy.deepcopy(message)
                if _put(variant, field, value):
                    yield f"{field.name} = {str(value)[:24]!r}", variant
        elif depth and not field.message_type.GetOptions().map_entry:
            inner = GetMessageClass(field.message_type)()
            if not field.is_repeated and message.HasField(field.name):
                inner.CopyFrom(getattr(message, field.name))
            for name, filled in _variants(inner, depth - 1):
                variant = copy.deepcopy(message)
                if field.is_repeated:
                    getattr(variant, field.name).append(filled)
                else:
                    getattr(variant, field.name).CopyFrom(filled)
                yield f"{field.name}.{name}", variant


def _honest(method: MethodDescriptor, cluster: str, member_id: str) -> list[Message]:
    """What gets past the first checks of a call, so that the later ones are met too; and nothing at all.

    Not for what a pusher alone says to a node: who knows the log's id is believed.
    """
    address = {"name": "stranger", "report": "127.0.0.1:1", "instant": "127.0.0.1:1", "http": "127.0.0.1:1"}
    known: dict[str, dict[str, Any]] = {
        "KeepAlive": {"cluster": cluster, "node": address, "status": {}, "sequence": 1, "incarnation": "x"},
        "GetMember": {"member_id": member_id},
        "BatchGetMembers": {"member_ids": [member_id]},
        "ListUpline": {"member_id": member_id},
        "ListFrontLine": {"member_id": member_id},
        "SearchMembers": {"prefix": "1"},
        "PushUpdates": {"updates": [{"update_id": "extreme"}]},
        "UploadImport": {"header": {"file_name": "x.csv", "size_bytes": 10}},
        "SkipUpdate": {"position": 1, "reason": "attack"},
        "DownloadSnapshot": {"import_id": 1},
    }
    kind = GetMessageClass(method.input_type)
    return [kind(), *([kind(**known[method.name])] if method.name in known else [])]


async def _call(channel: grpc.aio.Channel, method: MethodDescriptor, request: Message) -> grpc.StatusCode:
    """The status of one call; OK too where the answer goes on after the deadline."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    kind = GetMessageClass(method.output_type)
    coders = {"request_serializer": type(request).SerializeToString, "response_deserializer": kind.FromString}
    if method.client_streaming:
        stream: Any = channel.stream_stream if method.server_streaming else channel.stream_unary

        async def requests() -> Any:
            yield request

        call = stream(path, **coders)(requests(), timeout=_DEADLINE_S)
    else:
        unary: Any = channel.unary_stream if method.server_streaming else channel.unary_unary
        call = unary(path, **coders)(request, timeout=_DEADLINE_S)
    try:
        if method.server_streaming:
            for _ in range(20):
                if await call.read() is grpc.aio.EOF:
                    break
            else:
                call.cancel()
                return grpc.StatusCode.OK
        code: grpc.StatusCode = await call.code()
        _ = None if method.server_streaming else await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return code


def _services(target: Target) -> list[tuple[str, ServiceDescriptor]]:
    addresses = target.grpc_addresses()
    files = {
        "coordinator": coordinator_pb2,
        "pusher": pusher_pb2,
        "instant": treenode_pb2,
        "report": report_pb2,
    }
    found = [
        (addresses[part], service)
        for part, file in files.items()
        for service in file.DESCRIPTOR.services_by_name.values()
    ]
    source = import_source_pb2.DESCRIPTOR.services_by_name["ImportSourceService"]
    return [*found, (addresses["pusher"], source), (addresses["instant"], source)]


async def extremes(target: Target) -> str:
    """Every call of every service, every field of its request, every limit of its type, one at a time."""
    cluster = (await target.coordinator.GetCluster(coordinator_pb2.GetClusterRequest())).cluster.name
    front = await target.reports.ListFrontLine(report_pb2.ListFrontLineRequest(page_size=1))
    member_id = front.members[0].member_id
    codes: Counter[str] = Counter()
    wrong: list[str] = []
    room = asyncio.Semaphore(16)

    async def one(channel: grpc.aio.Channel, method: MethodDescriptor, name: str, request: Message) -> None:
        async with room:
            code = await _call(channel, method, request)
        codes[code.name] += 1
        if code in _DEFECTS:
            wrong.append(f"{method.name} with {name}: {code.name}")

    every = 0
    for address, service in _services(target):
        channel = target.channel(address)
        calls = []
        for method in service.methods:
            if method.name in _LEFT_OUT:
                continue
            for base in _honest(method, cluster, member_id):
                for name, request in _variants(base, _DEPTH):
                    if request == coordinator_pb2.SwitchoverRequest():
                        continue  # an honest order, which is carried out
                    every += 1
                    # A short run takes some of them, from all over.
                    if every % target.one_of() == 0:
                        calls.append(one(channel, method, name, request))
        await asyncio.gather(*calls)
        await channel.close()
    if wrong:
        raise NotHeldOffError(f"{len(wrong)} of {sum(codes.values())}: {'; '.join(wrong[:20])}")
    return f"{sum(codes.values())} calls: {dict(codes)}"


ATTACKS = (extremes,)
