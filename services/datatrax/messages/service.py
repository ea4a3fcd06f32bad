"""MessageService: what is asked for is checked, written down, and then told to the runner."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fasttree.v1 import message_pb2, message_pb2_grpc
from services.datatrax.messages import requests
from services.datatrax.messages.audience.members import Audience
from services.datatrax.messages.events import Fate, Phase
from services.datatrax.messages.journal import LetterRow, Row
from services.datatrax.messages.runner import MessageRunner
from services.shared.serving.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)

_SAMPLE, _SAMPLE_MAX = 3, 100
_PAGE, _PAGE_MAX = 100, 1_000
_OPT_OUTS, _OPT_OUTS_MAX = 1_000, 10_000
_NEWEST = (1 << 63) - 1
_STATES = {
    Phase.GATHERING: message_pb2.MESSAGE_STATE_GATHERING,
    Phase.SENDING: message_pb2.MESSAGE_STATE_SENDING,
    Phase.DONE: message_pb2.MESSAGE_STATE_DONE,
    Phase.CANCELLED: message_pb2.MESSAGE_STATE_CANCELLED,
    Phase.FAILED: message_pb2.MESSAGE_STATE_FAILED,
}
_FATES = {
    Fate.WAITING: message_pb2.LETTER_STATE_WAITING,
    Fate.SENT: message_pb2.LETTER_STATE_SENT,
    Fate.DEAD: message_pb2.LETTER_STATE_DEAD,
    Fate.OPTED_OUT: message_pb2.LETTER_STATE_OPTED_OUT,
}
_UNDER_WAY = (Phase.GATHERING, Phase.SENDING)


class MessageServicer(message_pb2_grpc.MessageServiceServicer):
    """See message.proto."""

    def __init__(self, runner: MessageRunner) -> None:
        self._runner = runner
        self._disk, self._journal = runner.disk, runner.journal
        #: One message_id at a time: what is written down is told to the core in that order.
        self._changing = asyncio.Lock()

    async def PreviewMessage(
        self, request: message_pb2.PreviewMessageRequest, context: Any
    ) -> message_pb2.PreviewMessageResponse:
        message = request.message
        await asyncio.to_thread(requests.check_message, message, self._runner.channels, needs_id=False)
        if request.sample_size > _SAMPLE_MAX:
            raise InvalidArgumentError(f"sample_size: {_SAMPLE_MAX} at most", field="sample_size")
        audience = Audience(self._runner.client, message)
        await audience.check()
        answer = message_pb2.PreviewMessageResponse()
        async for letters in audience.letters():
            members = [each.member_id for each in letters]
            opted_out = await self._disk.call(self._journal.opted_out_of, message.channel, members)
            answer.audience += len(letters)
            answer.opted_out += len(opted_out)
            for each in letters:
                if len(answer.sample) < (request.sample_size or _SAMPLE) and each.member_id not in opted_out:
                    answer.sample.append(_letter(each))
        if audience.as_of is not None:
            answer.as_of.CopyFrom(audience.as_of)
        answer.recipients = answer.audience - answer.opted_out
        price = self._runner.channels[message.channel].price
        answer.price, answer.cost = f"{price:f}", f"{price * answer.recipients:f}"
        return answer

    async def SendMessage(
        self, request: message_pb2.SendMessageRequest, context: Any
    ) -> message_pb2.SendMessageResponse:
        message = request.message
        await asyncio.to_thread(requests.check_message, message, self._runner.channels, needs_id=True)
        content = message.SerializeToString(deterministic=True)
        known = await self._disk.call(self._journal.row, message.message_id)
        if known is None:
            await Audience(self._runner.client, message).check()
        async with self._changing:
            row, was_known = await self._disk.call(
                self._journal.accept,
                message.message_id,
                content,
                time.time(),
                self._runner.settings.messages_open_max,
            )
            if not was_known:
                self._runner.begin(row, message)
        if row.request != content:
            raise AlreadyExistsError(
                f"message {row.message_id} was taken before with other content: give this one another message_id",
                field="message_id",
                value=row.message_id,
            )
        return message_pb2.SendMessageResponse(status=self._status(row), duplicate=was_known)

    async def GetMessage(self, request: message_pb2.GetMessageRequest, context: Any) -> message_pb2.GetMessageResponse:
        return message_pb2.GetMessageResponse(status=self._status(await self._row(request.message_id)))

    async def ListMessages(
        self, request: message_pb2.ListMessagesRequest, context: Any
    ) -> message_pb2.ListMessagesResponse:
        count = requests.page_size(request.page_size, _PAGE, _PAGE_MAX)
        before = requests.page_number(request.page_token, _NEWEST)
        rows = await self._disk.call(self._journal.page, before, count + 1)
        return message_pb2.ListMessagesResponse(
            messages=[self._status(row) for row in rows[:count]],
            next_page_token=str(rows[count - 1].seq) if len(rows) > count else "",
        )

    async def PauseMessage(
        self, request: message_pb2.PauseMessageRequest, context: Any
    ) -> message_pb2.PauseMessageResponse:
        return message_pb2.PauseMessageResponse(status=await self._set_paused(request.message_id, True))

    async def ResumeMessage(
        self, request: message_pb2.ResumeMessageRequest, context: Any
    ) -> message_pb2.ResumeMessageResponse:
        return message_pb2.ResumeMessageResponse(status=await self._set_paused(request.message_id, False))

    async def CancelMessage(
        self, request: message_pb2.CancelMessageRequest, context: Any
    ) -> message_pb2.CancelMessageResponse:
        async with self._changing:
            row = await self._row(request.message_id)
            if row.phase is not Phase.CANCELLED:
                self._need(row, _UNDER_WAY, "cancelled")
                if await self._disk.call(self._journal.cancel, row.message_id, time.time()):
                    await self._runner.cancel(row.message_id)
        return message_pb2.CancelMessageResponse(status=self._status(await self._row(request.message_id)))

    async def ListDeadLetters(
        self, request: message_pb2.ListDeadLettersRequest, context: Any
    ) -> message_pb2.ListDeadLettersResponse:
        count = requests.page_size(request.page_size, _PAGE, _PAGE_MAX)
        after = requests.page_number(request.page_token, 0)
        row = await self._row(request.message_id)
        letters = await self._disk.call(self._journal.dead_letters, row.message_id, after, count + 1)
        return message_pb2.ListDeadLettersResponse(
            letters=map(_letter, letters[:count]),
            next_page_token=str(letters[count - 1].number) if len(letters) > count else "",
        )

    async def ResendDeadLetters(
        self, request: message_pb2.ResendDeadLettersRequest, context: Any
    ) -> message_pb2.ResendDeadLettersResponse:
        requests.check_member_ids(request.member_ids, 0)
        async with self._changing:
            row = await self._row(request.message_id)
            self._need(row, (Phase.SENDING, Phase.DONE), "resent")
            message = message_pb2.Message.FromString(row.request)
            requests.check_channel(message.channel, self._runner.channels)
            count = await self._disk.call(self._journal.resend, row.message_id, list(request.member_ids))
            row = await self._row(request.message_id)
            if count:
                self._runner.begin(row, message)
        return message_pb2.ResendDeadLettersResponse(status=self._status(row), letters=count)

    async def SetOptOuts(self, request: message_pb2.SetOptOutsRequest, context: Any) -> message_pb2.SetOptOutsResponse:
        requests.check_member_ids(request.member_ids, 1)
        if request.channel:
            requests.check_channel(request.channel, self._runner.channels)
        changed = await self._disk.call(
            self._journal.set_opt_outs, list(request.member_ids), request.channel, request.opted_in
        )
        await self._runner.opt_outs_changed()
        return message_pb2.SetOptOutsResponse(changed=changed)

    async def ListOptOuts(
        self, request: message_pb2.ListOptOutsRequest, context: Any
    ) -> message_pb2.ListOptOutsResponse:
        count = requests.page_size(request.page_size, _OPT_OUTS, _OPT_OUTS_MAX)
        member_id, _, channel = request.page_token.partition("\t")
        if request.page_token and (not member_id or "\t" not in request.page_token):
            raise requests.page_token_error(request.page_token)
        if request.member_id:
            requests.check_member_ids([request.member_id], 1)
        found = await self._disk.call(self._journal.opt_outs, (member_id, channel), count + 1, request.member_id)
        return message_pb2.ListOptOutsResponse(
            opt_outs=[
                message_pb2.OptOut(member_id=each[0], channel=each[1], in_file=each[2]) for each in found[:count]
            ],
            next_page_token="\t".join(found[count - 1][:2]) if len(found) > count else "",
        )

    async def _row(self, message_id: str) -> Row:
        requests.check_message_id(message_id)
        row = await self._disk.call(self._journal.row, message_id)
        if row is None:
            raise NotFoundError(f"there is no message {message_id}", field="message_id", value=message_id)
        return row

    async def _set_paused(self, message_id: str, paused: bool) -> message_pb2.MessageStatus:
        async with self._changing:
            row = await self._row(message_id)
            self._need(row, _UNDER_WAY, "paused" if paused else "resumed")
            await self._disk.call(self._journal.set_paused, message_id, paused)
            self._runner.pause(message_id, paused=paused)
            return self._status(row._replace(paused=paused))

    @staticmethod
    def _need(row: Row, phases: tuple[Phase, ...], wanted: str) -> None:
        if row.phase not in phases:
            raise FailedPreconditionError(
                f"message {row.message_id} is {row.phase.name.lower()}: it can't be {wanted}",
                field="message_id",
                value=row.message_id,
                reason="MESSAGE_STATE",
            )

    def _status(self, row: Row) -> message_pb2.MessageStatus:
        runner, message_id = self._runner, row.message_id
        status = message_pb2.MessageStatus(
            message=message_pb2.Message.FromString(row.request),
            state=_STATES[row.phase],
            counts=message_pb2.LetterCounts(
                total=row.total,
                waiting=row.waiting,
                under_way=min(runner.core.under_way.get(message_id, 0), row.waiting),
                sent=row.sent,
                dead=row.dead,
                opted_out=row.opted_out,
            ),
            reason=row.reason,
        )
        status.accepted_at.FromMicroseconds(round(row.accepted_at * 1e6))
        if row.as_of:
            status.as_of.ParseFromString(row.as_of)
        if row.finished_at:
            status.finished_at.FromMicroseconds(round(row.finished_at * 1e6))
        if row.phase not in _UNDER_WAY:
            return status
        status.reason = runner.trouble(message_id)
        if row.paused:
            status.state = message_pb2.MESSAGE_STATE_PAUSED
        elif (until := runner.waits_until(message_id)) is not None:
            status.waits_until.FromMicroseconds(round(until * 1e6))
        status.rate_a_minute = runner.rate_a_minute(message_id)
        if a_minute := status.rate_a_minute or status.message.limit_a_minute:
            status.seconds_left = row.waiting * 60.0 / a_minute
        return status


def _letter(row: LetterRow) -> message_pb2.Letter:
    return message_pb2.Letter(
        member_id=row.member_id,
        text=row.text,
        columns=row.columns,
        state=_FATES[row.fate],
        attempts=row.attempts,
        reason=row.reason,
    )
