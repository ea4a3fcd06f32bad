"""A pusher whose log was full is ready again once there is room, though nobody pushes."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from google.rpc import code_pb2

from fasttree.v1 import pusher_pb2, pusher_pb2_grpc
from services.pusher.log.memory import MemoryLog
from services.pusher.log.store import LogStoreError
from services.shared.serving.channels import open_channel
from tests.pusher.running_pusher import push, running_pusher
from tests.pusher.updates import orders
from tests.waiting import until

REFUSED = "db1/company: permission denied for table records; grant what `fasttree log schema` prints"


async def readiness(port: int) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/readyz") as answer:
        return answer.status, await answer.text()


async def test_a_store_that_refuses_a_push_is_told_as_one_without_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A right that was taken from the pusher's role, say: no fault of the program, and over once it is granted."""
    store = MemoryLog().claim_alone()
    async with running_pusher(tmp_path, store=store) as pusher:
        monkeypatch.setattr(store, "append", _refuse)
        monkeypatch.setattr(store, "try_room", _refuse)
        async with open_channel(f"127.0.0.1:{pusher.server.port}") as channel:
            stub = pusher_pb2_grpc.PusherServiceStub(channel)
            (receipt,) = await push(stub, orders(0, 1))
            assert receipt.code == code_pb2.RESOURCE_EXHAUSTED
            assert receipt.message == f"the log takes nothing now, push again later: {REFUSED}"
            assert await readiness(pusher.http.port) == (503, f"{REFUSED}\n")
            assert (await stub.GetPusher(pusher_pb2.GetPusherRequest())).closed_reason == REFUSED
            monkeypatch.undo()

            async def is_ready() -> bool:
                return (await readiness(pusher.http.port))[0] == 200

            await until(is_ready, "the pusher to find that it may")


async def test_what_a_write_waits_for_is_told_before_the_patience_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryLog().claim_alone()
    async with running_pusher(tmp_path, store=store) as pusher:
        monkeypatch.setattr(store, "waits_for", lambda: "db1 is away; see to the server")
        async with open_channel(f"127.0.0.1:{pusher.server.port}") as channel:
            told = await pusher_pb2_grpc.PusherServiceStub(channel).GetPusher(pusher_pb2.GetPusherRequest())
        assert told.closed_reason == "db1 is away; see to the server"
        assert await readiness(pusher.http.port) == (200, "ready; db1 is away; see to the server\n")


def _refuse(*_: object) -> None:
    raise LogStoreError(REFUSED)


async def test_room_is_found_without_a_push(tmp_path: Path) -> None:
    store = MemoryLog().claim_alone()
    async with running_pusher(tmp_path, store=store) as pusher:
        store.updates_max = store.ends().last
        async with open_channel(f"127.0.0.1:{pusher.server.port}") as channel:
            (receipt,) = await push(pusher_pb2_grpc.PusherServiceStub(channel), orders(0, 1))
        assert receipt.code == code_pb2.RESOURCE_EXHAUSTED
        assert await readiness(pusher.http.port) == (503, "the log is full: allow it more updates\n")
        store.updates_max += 1

        async def is_ready() -> bool:
            return (await readiness(pusher.http.port))[0] == 200

        await until(is_ready, "the pusher to find room")
