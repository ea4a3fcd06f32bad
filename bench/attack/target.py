"""What an attack is aimed at: the addresses and folders of a running cluster, and how its answers are judged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from fasttree.v1 import coordinator_pb2_grpc, pusher_pb2_grpc, report_pb2_grpc, treenode_pb2_grpc

#: Nothing that is refused, and nothing that is answered, may take longer; the machine may be busy.
ANSWER_S = 60.0
_OPTIONS = [
    ("grpc.max_send_message_length", 64 << 20),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_metadata_size", 1 << 20),
    ("grpc.use_local_subchannel_pool", 1),
]


class NotHeldOffError(Exception):
    """The cluster answered otherwise than it should."""


@dataclass(frozen=True)
class Target:
    """A cluster that `fasttree up` runs.

    Attributes:
        folder: The cluster's state.
        scale: How much of the attack: 1 for all, less for a short run.
        members: How many members the tree has.
    """

    folder: Path
    scale: float
    members: int

    @property
    def endpoints(self) -> dict[str, Any]:
        """What endpoints.json says."""
        content: dict[str, Any] = json.loads((self.folder / "endpoints.json").read_text())
        return content

    def count(self, whole: int) -> int:
        """That many, or the share of a short run; one at least."""
        return max(1, round(whole * self.scale))

    def one_of(self) -> int:
        """In a short run, one of so many is tried."""
        return max(1, round(1 / self.scale))

    def channel(self, address: str) -> grpc.aio.Channel:
        """A connection of its own, with limits that stop nothing on this side."""
        return grpc.aio.insecure_channel(address, options=_OPTIONS)

    @property
    def reports(self) -> report_pb2_grpc.ReportServiceAsyncStub:
        """Through the VIP."""
        return report_pb2_grpc.ReportServiceStub(self.channel(self.endpoints["vip"]))

    def reports_of(self, node: int) -> report_pb2_grpc.ReportServiceAsyncStub:
        """Straight at a node."""
        return report_pb2_grpc.ReportServiceStub(self.channel(self.endpoints["nodes"][node]["report"]))

    def instant(self, node: int) -> treenode_pb2_grpc.TreeNodeServiceAsyncStub:
        """A node's instant port."""
        return treenode_pb2_grpc.TreeNodeServiceStub(self.channel(self.endpoints["nodes"][node]["instant"]))

    @property
    def coordinator(self) -> coordinator_pb2_grpc.CoordinatorServiceAsyncStub:
        """The coordinator."""
        return coordinator_pb2_grpc.CoordinatorServiceStub(self.channel(self.endpoints["coordinator"]))

    @property
    def pusher(self) -> pusher_pb2_grpc.PusherServiceAsyncStub:
        """The pusher."""
        return pusher_pb2_grpc.PusherServiceStub(self.channel(self.endpoints["pusher"]))

    def grpc_addresses(self) -> dict[str, str]:
        """Every port that speaks gRPC, by what it is."""
        node = self.endpoints["nodes"][0]
        return {
            "vip": self.endpoints["vip"],
            "coordinator": self.endpoints["coordinator"],
            "pusher": self.endpoints["pusher"],
            "instant": node["instant"],
            "report": node["report"],
        }

    def http_addresses(self) -> dict[str, str]:
        """Every port of health and metrics, by whose it is."""
        return {**self.endpoints["http"], **{node["name"]: node["http"] for node in self.endpoints["nodes"]}}


async def refused(call: Awaitable[object], *codes: grpc.StatusCode, what: str) -> str:
    """Awaits a call that must be refused with one of some codes, and in few words; returns the words.

    Raises:
        NotHeldOffError: It was answered, or refused otherwise.
    """
    try:
        answer = await asyncio.wait_for(call, ANSWER_S)
    except TimeoutError:
        raise NotHeldOffError(f"{what}: no answer within {ANSWER_S:.0f} s") from None
    except grpc.aio.AioRpcError as error:
        details = error.details() or ""
        if error.code() not in codes:
            expected = ", ".join(code.name for code in codes)
            raise NotHeldOffError(f"{what}: {error.code().name} {details[:200]!r} where {expected} is due") from None
        if len(details) > 2_000:
            raise NotHeldOffError(f"{what}: refused in {len(details)} characters") from None
        return details
    raise NotHeldOffError(f"{what}: answered with {str(answer)[:200]!r}")


async def outcomes(calls: Iterable[Awaitable[object]]) -> list[grpc.StatusCode]:
    """Awaits calls together; returns each one's status.

    Raises:
        NotHeldOffError: One of them has no answer.
    """

    async def status(call: Awaitable[object]) -> grpc.StatusCode:
        try:
            await asyncio.wait_for(call, ANSWER_S)
        except TimeoutError:
            raise NotHeldOffError(f"a call has no answer within {ANSWER_S:.0f} s") from None
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    return await asyncio.gather(*map(status, calls))


def only(found: Collection[grpc.StatusCode], *codes: grpc.StatusCode, what: str) -> None:
    """Raises NotHeldOffError where a status is none of some codes."""
    others = sorted({code.name for code in found} - {code.name for code in codes})
    if others:
        raise NotHeldOffError(f"{what}: some ended with {', '.join(others)}")


#: An attack: returns what it saw, in words, or raises NotHeldOffError.
Attack = Callable[[Target], Awaitable[str]]
