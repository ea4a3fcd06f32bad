"""The service as a process that is killed in the middle of a message, again and again."""

from __future__ import annotations

import asyncio
import functools
import json
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio

from fasttree.v1 import message_pb2, message_pb2_grpc
from services.shared.python_process import python_command
from tests.datatrax.messages.gateway import Gateway, write_channels
from tests.fakes.reports import FakeReports
from tests.waiting import until

pb = message_pb2
WINDOW = 16


class Service:
    """The process; started as often as it is needed."""

    def __init__(self, folder: Path, gateway: Gateway, reports: FakeReports) -> None:
        channels = write_channels(folder, gateway, window=WINDOW)
        settings = (
            "datatrax.instant_port=0", "datatrax.http_port=0", "datatrax.message_port=0",
            f"datatrax.message_folder={folder / 'state'}", f"datatrax.message_channels_file={channels}",
            f"datatrax.vip={reports.address}",
        )  # fmt: skip
        self._command = python_command("services.datatrax", *(word for each in settings for word in ("--set", each)))
        self.process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self.said: list[str] = []

    @asynccontextmanager
    async def stub(self) -> AsyncIterator[message_pb2_grpc.MessageServiceAsyncStub]:
        """A new process, and calls to it."""
        self.process = await asyncio.create_subprocess_exec(*self._command, stderr=asyncio.subprocess.PIPE)
        stderr = self.process.stderr
        assert stderr is not None
        self.said = []

        async def read() -> None:
            while line := await stderr.readline():
                self.said.append(line.decode())

        self._reading = asyncio.create_task(read())
        found: list[str] = []

        def listens() -> bool:
            assert self.process is not None
            assert self.process.returncode is None, self.said
            found[:] = re.findall(r"messages at 127\.0\.0\.1:([0-9]+)", "".join(self.said))
            return bool(found) and "HTTP" in "".join(self.said)

        await until(listens, "the service")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{found[0]}") as channel:
            yield message_pb2_grpc.MessageServiceStub(channel)

    async def end(self, how: signal.Signals) -> int:
        assert self.process is not None
        assert self._reading is not None
        self.process.send_signal(how)
        code = await self.process.wait()
        await self._reading
        return code


@asynccontextmanager
async def service_of(folder: Path, recipients: int) -> AsyncIterator[tuple[Service, Gateway]]:
    gateway, reports = await Gateway().start(), await FakeReports(recipients).start()
    yield Service(folder, gateway, reports), gateway
    await gateway.stop()
    await reports.stop()


def has_come(gateway: Gateway, enough: int) -> bool:
    return len(gateway.keys) >= enough


async def test_a_service_killed_three_times_hands_each_letter_over_once(tmp_path: Path) -> None:
    """A letter whose answer was not on disk may come again, under its key: no more of them than the window takes."""
    recipients = 3_000
    async with service_of(tmp_path, recipients) as (service, gateway):
        message = pb.Message(message_id="autumn", channel="sms", template="{member_id}")
        for kill in range(3):
            async with service.stub() as stub:
                answer = await stub.SendMessage(pb.SendMessageRequest(message=message), timeout=60)
                assert answer.duplicate == (kill > 0)
                enough = (kill + 1) * recipients // 4
                await until(functools.partial(has_come, gateway, enough), "so many letters")
                assert await service.end(signal.SIGKILL) != 0
        async with service.stub() as stub:

            async def is_done() -> bool:
                status = (await stub.GetMessage(pb.GetMessageRequest(message_id="autumn"), timeout=60)).status
                return status.state == pb.MESSAGE_STATE_DONE

            await until(is_done, "the message to be done")
            status = (await stub.GetMessage(pb.GetMessageRequest(message_id="autumn"), timeout=60)).status
            assert (status.counts.total, status.counts.sent) == (recipients, recipients)
            assert await service.end(signal.SIGTERM) == 0
        assert set(gateway.keys) == {f"autumn/m{index}" for index in range(recipients)}
        assert gateway.keys.total() - recipients <= 3 * WINDOW


async def test_lines_of_a_service_that_is_killed_stand_there_once(tmp_path: Path) -> None:
    recipients = 2_000
    file = tmp_path / "voice/autumn.jsonl"

    def has_lines(enough: int) -> bool:
        return file.exists() and file.read_bytes().count(b"\n") >= enough

    async with service_of(tmp_path, recipients) as (service, _):
        message = pb.Message(message_id="autumn", channel="voice", template="{member_id}")
        for kill in range(3):
            async with service.stub() as stub:
                await stub.SendMessage(pb.SendMessageRequest(message=message), timeout=60)
                enough = (kill + 1) * recipients // 4
                await until(functools.partial(has_lines, enough), "so many lines")
                await service.end(signal.SIGKILL)
            with file.open("ab") as torn:
                torn.write(b'{"key": "autumn/m')  # a write that a power failure cut off
        async with service.stub():
            await until(file.with_name("autumn.jsonl.done").exists, "the marker")
            assert await service.end(signal.SIGTERM) == 0
    keys = [json.loads(line)["key"] for line in file.read_text().splitlines()]
    assert sorted(keys) == sorted(f"autumn/m{index}" for index in range(recipients))


async def test_what_is_with_its_sender_at_the_end_is_waited_for_and_a_pause_outlives_it(tmp_path: Path) -> None:
    async with service_of(tmp_path, 50) as (service, gateway):
        gateway.open.clear()
        message = pb.Message(message_id="autumn", channel="sms", template="{member_id}")
        async with service.stub() as stub:
            await stub.SendMessage(pb.SendMessageRequest(message=message), timeout=60)
            await until(lambda: gateway.waiting == WINDOW, "letters")
            await stub.PauseMessage(pb.PauseMessageRequest(message_id="autumn"), timeout=60)
            ending = asyncio.create_task(service.end(signal.SIGTERM))
            await until(lambda: "ends" in "".join(service.said), "its end")
            gateway.open.set()
            assert await ending == 0
        async with service.stub() as stub:
            status = (await stub.GetMessage(pb.GetMessageRequest(message_id="autumn"), timeout=60)).status
            assert (status.state, status.counts.sent) == (pb.MESSAGE_STATE_PAUSED, WINDOW)
            await stub.ResumeMessage(pb.ResumeMessageRequest(message_id="autumn"), timeout=60)
            await until(lambda: len(gateway.keys) == 50, "the rest")
            await service.end(signal.SIGKILL)
        assert gateway.keys.total() <= 50


async def test_what_keeps_messages_from_starting_is_one_line(tmp_path: Path) -> None:
    channels, sound = tmp_path / "channels.toml", f"[voice]\nsender = 'spool'\nfolder = '{tmp_path}/voice'"
    for text, setting, expected in (
        ("[sms]\nsender = 'pigeon'", "", "message_channels_file: "),
        (sound, f"message_opt_outs_file={tmp_path}/no", "message_opt_outs_file: "),
        (sound, "message_channels_file=", "must name a file of channels"),
    ):
        channels.write_text(text)
        settings = [f"message_folder={tmp_path / 'state'}", f"message_channels_file={channels}", "message_port=0"]
        settings += ["instant_port=0", "http_port=0", setting or "message_log_bytes_max=1000"]
        words = (word for each in settings for word in ("--set", f"datatrax.{each}"))
        process = await asyncio.create_subprocess_exec(
            *python_command("services.datatrax", *words), stderr=asyncio.subprocess.PIPE
        )
        _, error = await process.communicate()
        assert process.returncode == 1, text
        assert expected in error.decode().splitlines()[-1]
        assert "Traceback" not in error.decode()
