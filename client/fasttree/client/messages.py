"""Messages to downlines: previewed, sent, watched and stopped, by the MessageService of the service for DataTrax.

Every call may be made again: a message is known by its id, and everything else says what is to be.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc

from fasttree.client.calls.retries import Retries, with_retries
from fasttree.v1 import message_pb2, message_pb2_grpc


class Messages:
    """The MessageService at one address. Each call raises a CallError."""

    def __init__(self, channel: grpc.aio.Channel, address: str, retries: Retries) -> None:
        self._stub: message_pb2_grpc.MessageServiceAsyncStub = message_pb2_grpc.MessageServiceStub(channel)
        self._address, self._retries = address, retries

    async def preview(
        self, message: message_pb2.Message, *, sample_size: int = 0
    ) -> message_pb2.PreviewMessageResponse:
        """How many would get it, some of the texts, and what it would cost."""
        request = message_pb2.PreviewMessageRequest(message=message, sample_size=sample_size)
        answer: message_pb2.PreviewMessageResponse = await self._call("PreviewMessage", request)
        return answer

    async def send(self, message: message_pb2.Message) -> message_pb2.SendMessageResponse:
        """Sends it; once, however often it is asked for. AlreadyExistsError: its id has other content."""
        answer: message_pb2.SendMessageResponse = await self._call(
            "SendMessage", message_pb2.SendMessageRequest(message=message)
        )
        return answer

    async def get(self, message_id: str) -> message_pb2.MessageStatus:
        """How far it is. NotFoundError: there is none."""
        answer: message_pb2.GetMessageResponse = await self._call(
            "GetMessage", message_pb2.GetMessageRequest(message_id=message_id)
        )
        return answer.status

    async def list(self) -> AsyncIterator[message_pb2.MessageStatus]:
        """All of them, the newest first."""
        token = ""
        while True:
            request = message_pb2.ListMessagesRequest(page_size=1_000, page_token=token)
            answer: message_pb2.ListMessagesResponse = await self._call("ListMessages", request)
            for each in answer.messages:
                yield each
            if not (token := answer.next_page_token):
                return

    async def pause(self, message_id: str) -> message_pb2.MessageStatus:
        """Nothing more of it goes out until it is resumed."""
        answer: message_pb2.PauseMessageResponse = await self._call(
            "PauseMessage", message_pb2.PauseMessageRequest(message_id=message_id)
        )
        return answer.status

    async def resume(self, message_id: str) -> message_pb2.MessageStatus:
        """A paused one goes on."""
        answer: message_pb2.ResumeMessageResponse = await self._call(
            "ResumeMessage", message_pb2.ResumeMessageRequest(message_id=message_id)
        )
        return answer.status

    async def cancel(self, message_id: str) -> message_pb2.MessageStatus:
        """Nothing more of it ever goes out."""
        answer: message_pb2.CancelMessageResponse = await self._call(
            "CancelMessage", message_pb2.CancelMessageRequest(message_id=message_id)
        )
        return answer.status

    async def dead_letters(self, message_id: str) -> AsyncIterator[message_pb2.Letter]:
        """Those that their sender did not take, in the order of the audience."""
        token = ""
        while True:
            request = message_pb2.ListDeadLettersRequest(message_id=message_id, page_size=1_000, page_token=token)
            answer: message_pb2.ListDeadLettersResponse = await self._call("ListDeadLetters", request)
            for each in answer.letters:
                yield each
            if not (token := answer.next_page_token):
                return

    async def resend(self, message_id: str, member_ids: Iterable[str] = ()) -> message_pb2.ResendDeadLettersResponse:
        """Hands dead letters over again: those of these members (10,000 at most), or all."""
        request = message_pb2.ResendDeadLettersRequest(message_id=message_id, member_ids=member_ids)
        answer: message_pb2.ResendDeadLettersResponse = await self._call("ResendDeadLetters", request)
        return answer

    async def set_opt_outs(self, member_ids: Iterable[str], *, channel: str = "", opted_in: bool = False) -> int:
        """Members (10,000 at most) want none, on one channel or on all; or want them again. For how many it is new."""
        request = message_pb2.SetOptOutsRequest(member_ids=member_ids, channel=channel, opted_in=opted_in)
        answer: message_pb2.SetOptOutsResponse = await self._call("SetOptOuts", request)
        return answer.changed

    async def opt_outs(self, member_id: str = "") -> AsyncIterator[message_pb2.OptOut]:
        """Who wants none, by member: all of them, or one."""
        token = ""
        while True:
            request = message_pb2.ListOptOutsRequest(page_size=10_000, page_token=token, member_id=member_id)
            answer: message_pb2.ListOptOutsResponse = await self._call("ListOptOuts", request)
            for each in answer.opt_outs:
                yield each
            if not (token := answer.next_page_token):
                return

    async def _call(self, called: str, request: Any) -> Any:
        method = getattr(self._stub, called)
        return await with_retries(
            lambda left_s: method(request, timeout=left_s), self._retries, called=called, address=self._address
        )
