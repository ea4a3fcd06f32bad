"""The pusher as a process, with its log in servers of its own kind: killed, and begun again."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from fasttree.v1 import pusher_pb2_grpc
from services.shared.serving.channels import open_channel
from tests.jetstream_servers import stream_settings
from tests.postgresql_server import schema_settings
from tests.pusher.pusher_process import PusherProcess
from tests.pusher.running_pusher import push
from tests.pusher.updates import orders


@pytest.mark.parametrize("engine", ["postgresql", "jetstream"])
async def test_a_killed_pusher_begins_where_it_was(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    made = schema_settings if engine == "postgresql" else stream_settings
    with made(request.getfixturevalue(engine)) as settings:
        process = PusherProcess(
            tmp_path,
            f"pusher.log_store={engine}",
            f"pusher.log_url={settings.log_url}",
            f"pusher.log_schema={settings.postgresql.log_schema}",
            f"pusher.nats_stream={settings.jetstream.nats_stream}",
            f"pusher.nats_monitoring_urls={settings.jetstream.nats_monitoring_urls}",
        )
        await process.start()
        async with open_channel(process.address) as channel:
            first = await push(pusher_pb2_grpc.PusherServiceStub(channel), orders(0, 500))
        before = await process.get()
        assert before.log_durability.survives_machine_loss == (engine == "jetstream")
        await process.end(signal.SIGKILL)
        await process.start()
        after = await process.get()
        assert (after.log_id, after.log_end.position) == (before.log_id, before.log_end.position)
        async with open_channel(process.address) as channel:
            again = await push(pusher_pb2_grpc.PusherServiceStub(channel), orders(0, 501))
        assert [receipt.position for receipt in again[:500]] == [receipt.position for receipt in first]
        assert again[500].position == after.log_end.position + 1
        assert not list((tmp_path / "state").glob("log.db*"))
        assert await process.end() == 0
