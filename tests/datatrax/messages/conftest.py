"""Messages of a real service: its reports and its gateway are stand-ins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from fasttree.v1 import message_pb2, message_pb2_grpc
from services.datatrax.messages.port import MessagePort
from services.datatrax.messages.settings import MessageSettings
from services.shared.serving.background import Background
from services.shared.serving.settings import ServingSettings
from tests.datatrax.messages.gateway import Gateway, write_channels
from tests.fakes.reports import FakeReports
from tests.waiting import until

pb = message_pb2


class Service:
    """Started at the first use; may be stopped, and goes on from its folder."""

    def __init__(self, folder: Path, gateway: Gateway, reports: FakeReports) -> None:
        self.folder, self.gateway, self.reports = folder, gateway, reports
        self.channel_settings: dict[str, Any] = {}
        self.settings: dict[str, Any] = {}
        self.background = Background()
        self.port: MessagePort | None = None
        self._channel: grpc.aio.Channel | None = None
        self._stub: message_pb2_grpc.MessageServiceAsyncStub | None = None

    async def stub(self) -> message_pb2_grpc.MessageServiceAsyncStub:
        if self._stub is None:
            settings = MessageSettings.of(
                message_port=0,
                message_folder=str(self.folder / "state"),
                message_channels_file=str(write_channels(self.folder, self.gateway, **self.channel_settings)),
                message_opt_outs_poll_s=0.05,
                vip=self.reports.address,
                **self.settings,
            )
            self.port = await MessagePort.start(settings, ServingSettings(), "127.0.0.1", self.background)
            self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port.port}")
            self._stub = message_pb2_grpc.MessageServiceStub(self._channel)
        return self._stub

    async def stop(self) -> None:
        assert self.background.error is None
        if self.port is not None and self._channel is not None:
            await self._channel.close()
            await self.port.stop(0.0)
            self.port = self._stub = self._channel = None
        await self.background.stop()
        assert self.background.error is None, self.background.reason

    def message(self, message_id: str = "autumn", **fields: Any) -> pb.Message:
        fields = {"channel": "sms", "template": "Hello {member_id}, your PV is {pv}."} | fields
        return pb.Message(message_id=message_id, **fields)

    async def send(self, message: pb.Message | None = None) -> pb.SendMessageResponse:
        stub = await self.stub()
        return await stub.SendMessage(pb.SendMessageRequest(message=message or self.message()), timeout=30)

    async def status(self, message_id: str = "autumn") -> pb.MessageStatus:
        stub = await self.stub()
        return (await stub.GetMessage(pb.GetMessageRequest(message_id=message_id), timeout=30)).status

    async def reaches(self, state: pb.MessageState.ValueType, message_id: str = "autumn") -> pb.MessageStatus:
        """Waits until the message is in that state."""
        found: list[pb.MessageStatus] = []

        async def is_there() -> bool:
            found[:] = [await self.status(message_id)]
            return found[0].state == state

        await until(is_there, f"message {message_id} to be {pb.MessageState.Name(state)}")
        return found[0]


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    started = await Gateway().start()
    yield started
    started.open.set()
    await started.stop()


@pytest.fixture
async def reports() -> AsyncIterator[FakeReports]:
    started = await FakeReports().start()
    yield started
    await started.stop()


@pytest.fixture
async def service(tmp_path: Path, gateway: Gateway, reports: FakeReports) -> AsyncIterator[Service]:
    made = Service(tmp_path, gateway, reports)
    yield made
    gateway.open.set()
    await made.stop()
