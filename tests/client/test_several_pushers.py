"""Every call that goes to the pusher finds the active one, whichever is named first."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fasttree.client import Client, FailedPreconditionError, FastTreeClientError, Retries
from fasttree.v1 import pusher_pb2, pusher_pb2_grpc, types_pb2
from services.shared.serving import errors
from tests.fakes.cluster import fake_cluster
from tests.fakes.server import Fake


class StandsBy(Fake, pusher_pb2_grpc.PusherServiceServicer):
    """A pusher that sends everybody to another one."""

    adders = (pusher_pb2_grpc.add_PusherServiceServicer_to_server,)

    def __init__(self, active: str) -> None:
        super().__init__()
        self._active = active
        self.asked: list[str] = []
        for method in pusher_pb2.DESCRIPTOR.services_by_name["PusherService"].methods:
            setattr(self, method.name, self._refusing(method.name, streams=method.server_streaming))

    def _refusing(self, name: str, *, streams: bool) -> Callable[[Any, Any], Any]:
        def refusal() -> errors.FastTreeError:
            self.asked.append(name)
            return errors.FailedPreconditionError("this pusher stands by", reason="STANDBY", active=self._active)

        async def one(_request: Any, _context: Any) -> Any:
            raise refusal()

        async def several(_request: Any, _context: Any) -> AsyncIterator[Any]:
            raise refusal()
            yield

        return several if streams else one


async def _drained(answers: AsyncIterator[Any]) -> None:
    async for _ in answers:
        pass


async def _pushes(client: Client) -> None:
    order = types_pb2.VolumePosted(member_id="m1", amount_hundredths=100)
    await _drained(client.push([types_pb2.Update(update_id="u", volume_posted=order)]))


async def _uploads(client: Client) -> None:
    await client.upload_import(Path(__file__))


#: By the RPC; what each of them comes to, at a fake that knows neither erasures nor skips, is another matter.
CALLS: dict[str, Callable[[Client], Awaitable[object]]] = {
    "PushUpdates": _pushes,
    "UploadImport": _uploads,
    "GetImportProfile": lambda client: client.get_import_profile("sales"),
    "WatchImport": lambda client: _drained(client.watch_import(7, patience_s=20)),
    "RollbackImport": Client.rollback_import,
    "GetPusher": Client.get_pusher,
    "SkipUpdate": lambda client: client.skip_update(1, "why"),
    "EraseMember": lambda client: client.erase_member("a"),
    "GetErasure": lambda client: client.get_erasure("a"),
    "AdoptLog": lambda client: client.adopt_log("why"),
    "ReadLog": lambda client: _drained(client.read_log(1, 1)),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_goes_to_the_active_pusher(name: str) -> None:
    async with fake_cluster() as cluster:
        active = cluster.endpoints.pusher
        standby = await StandsBy(active).start()
        try:
            async with Client(replace(cluster.endpoints, pusher=f"{standby.address},{active}")) as client:
                with contextlib.suppress(FastTreeClientError):
                    await CALLS[name](client)
                assert client._pusher().address == active
                assert len(standby.asked) == 1
        finally:
            await standby.stop()


async def test_a_rollback_that_no_pusher_takes_says_that_they_stand_by() -> None:
    async with fake_cluster() as cluster:
        standby = await StandsBy("").start()
        try:
            endpoints = replace(cluster.endpoints, pusher=standby.address)
            async with Client(endpoints, retries=Retries(timeout_s=1.0)) as client:
                with pytest.raises(FailedPreconditionError, match="this pusher stands by"):
                    await client.rollback_import()
        finally:
            await standby.stop()


async def test_a_first_pusher_that_is_frozen_does_not_keep_a_rollback_from_the_active_one() -> None:
    """Its machine takes connections, and nobody there answers."""
    async with fake_cluster() as cluster:
        active = cluster.endpoints.pusher
        with socket.create_server(("127.0.0.1", 0)) as frozen:
            first = f"127.0.0.1:{frozen.getsockname()[1]}"
            async with Client(replace(cluster.endpoints, pusher=f"{first},{active}")) as client:
                with pytest.raises(FailedPreconditionError, match="no import before the current one"):
                    await client.rollback_import()
                assert client._pusher().address == active
