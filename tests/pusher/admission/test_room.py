"""A pusher whose log was full is ready again once there is room, though nobody pushes."""

from __future__ import annotations

from pathlib import Path

import aiohttp
from google.rpc import code_pb2

from fasttree.v1 import pusher_pb2_grpc
from services.pusher.log.memory import MemoryLog
from services.shared.serving.channels import open_channel
from tests.pusher.running_pusher import push, running_pusher
from tests.pusher.updates import orders
from tests.waiting import until


async def readiness(port: int) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/readyz") as answer:
        return answer.status, await answer.text()


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
