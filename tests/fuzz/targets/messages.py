"""Every call of the service of messages to downlines, through what serves it; letters go into a folder."""

from __future__ import annotations

from functools import cache
from typing import Any

from fasttree.v1 import message_pb2
from services.datatrax.messages.port import MessagePort
from services.datatrax.messages.service import MessageServicer
from services.datatrax.messages.settings import MessageSettings
from services.shared.serving.background import Background
from services.shared.serving.settings import ServingSettings
from tests.fakes.reports import FakeReports
from tests.fuzz.asking import REFUSALS, Asked, Names, asking, methods_of, plain_inputs
from tests.fuzz.target import Run, Target, scratch

_SERVICE = message_pb2.DESCRIPTOR.services_by_name["MessageService"]
_PATIENCE_S = 0.05


@cache
def _calls() -> Run:
    async def made() -> Asked:
        folder, background = scratch().parent, Background()
        channels = folder / "channels.toml"
        channels.write_text(f'[voice]\nsender = "spool"\nfolder = "{folder / "voice"}"\n')
        reports = await FakeReports().start()
        settings = MessageSettings.of(
            message_port=0,
            message_folder=str(folder / "state"),
            message_channels_file=str(channels),
            vip=reports.address,
        )
        port = await MessagePort.start(settings, ServingSettings(), "127.0.0.1", background)

        def check() -> None:
            assert background.error is None, background.reason
            port.runner.core.validate()

        async def end() -> None:
            await port.stop(0.0)
            await background.stop()
            await reports.stop()

        return Asked(methods_of([(_SERVICE, MessageServicer(port.runner))]), end, check, patience_s=_PATIENCE_S)

    return asking(made)


def _inputs() -> list[bytes]:
    message = message_pb2.Message(message_id="autumn", channel="voice", template="Hello {member_id}: {pv}.")
    one: dict[str, Any] = {"message_id": "autumn"}
    given: dict[str, list[Any]] = {
        "PreviewMessage": [message_pb2.PreviewMessageRequest(message=message, sample_size=2)],
        "SendMessage": [message_pb2.SendMessageRequest(message=message)],
        "GetMessage": [message_pb2.GetMessageRequest(**one)],
        "ListMessages": [message_pb2.ListMessagesRequest(page_size=1, page_token="7")],
        "PauseMessage": [message_pb2.PauseMessageRequest(**one)],
        "ResumeMessage": [message_pb2.ResumeMessageRequest(**one)],
        "CancelMessage": [message_pb2.CancelMessageRequest(**one)],
        "ListDeadLetters": [message_pb2.ListDeadLettersRequest(**one, page_size=1)],
        "ResendDeadLetters": [message_pb2.ResendDeadLettersRequest(**one)],
        "SetOptOuts": [message_pb2.SetOptOutsRequest(channel="voice", member_ids=["m1", "m2"])],
        "ListOptOuts": [message_pb2.ListOptOutsRequest(page_size=1)],
    }
    return plain_inputs([(_SERVICE, Names())], given)


TARGETS = [Target("messages.calls", _calls, REFUSALS, _inputs, 2_048)]
