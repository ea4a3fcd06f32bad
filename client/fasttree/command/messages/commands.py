"""`fasttree message`: messages to a downline, previewed, sent, watched and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from fasttree.client import Messages
from fasttree.client.counts import counted
from fasttree.client.errors import CallError
from fasttree.client.forms.members import as_of_json
from fasttree.command.messages.shown import (
    FINAL,
    LetterJson,
    MessageJson,
    OptOutJson,
    OptOutsChangedJson,
    PreviewJson,
    ResentJson,
    SentJson,
    counts_text,
    letter_json,
    print_letters,
    print_status,
    state_text,
    status_json,
)
from fasttree.command.output import Progress, as_of_text, print_json, print_table
from fasttree.command.ranges import WholeRange
from fasttree.command.reports.asked import Asked, audience_options, gathered
from fasttree.command.reports.filters import filter_options
from fasttree.command.session import CommandError, Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.v1 import message_pb2, report_pb2

Command = TypeVar("Command", bound=Callable[..., Any])

_TEMPLATE_BYTES_MAX = 64 << 10
_HOURS = re.compile(r"([0-9]{2}:[0-9]{2})-([0-9]{2}:[0-9]{2})")
#: Options by the field that they fill.
_FIELDS = {
    "template": "--template",
    "columns": "--column",
    "channel": "--channel",
    "message_id": "--id",
    "limit_a_minute": "--limit-a-minute",
    "quiet_hours.from": "--quiet",
    "quiet_hours.to": "--quiet",
    "quiet_hours.time_zone": "--time-zone",
    "not_before": "--not-before",
}
_POLL_S = 0.5


class _Time(click.ParamType[datetime.datetime]):
    """A time with its offset."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime.datetime:
        """As a time."""
        try:
            found = datetime.datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value[:40]!r} is no time: write it as 2026-11-30T09:00+01:00", param, ctx)
        if found.tzinfo is None:
            self.fail(f"{value[:40]!r} names no time zone: write it as 2026-11-30T09:00+01:00", param, ctx)
        try:
            return found.astimezone(datetime.UTC)
        except OverflowError:
            self.fail(f"{value[:40]!r} is before or after every time that there is", param, ctx)


_OPTIONS = [
    click.option("--channel", required=True, help="One of the service's channels, such as sms."),
    click.option("--template", default="", help="The text; {column} stands for what a member has there, {{ for {."),
    click.option(
        "--template-file", type=click.Path(path_type=Path, dir_okay=False), help="A file that has the text, in UTF-8."
    ),
    click.option(
        "--column",
        "columns",
        multiple=True,
        metavar="NAME",
        help="What the sender gets beside it, such as phone.",
    ),
    click.option("--not-before", type=_Time(), metavar="TIME", help="Not before it: 2026-11-30T09:00+01:00."),
    click.option("--quiet", default="", metavar="HH:MM-HH:MM", help="Hours at which nobody is disturbed: 21:00-08:00."),
    click.option("--time-zone", default="", metavar="ZONE", help="With --quiet: by whose clocks, as America/Denver."),
    click.option(
        "--limit-a-minute",
        type=WholeRange(0, 1_000_000),
        default=0,
        help="Letters in any minute; 0: as the channel's own limit says.",
    ),
]


def _message(
    channel: str,
    template: str,
    template_file: Path | None,
    columns: tuple[str, ...],
    not_before: datetime.datetime | None,
    quiet: str,
    time_zone: str,
    limit_a_minute: int,
) -> message_pb2.Message:
    if bool(template) == (template_file is not None):
        raise click.UsageError("Say the text by --template or by --template-file, one of them.")
    if template_file is not None:
        template = _text_of(template_file)
    message = message_pb2.Message(channel=channel, template=template, columns=columns, limit_a_minute=limit_a_minute)
    if not_before is not None:
        message.not_before.FromDatetime(not_before)
    if bool(quiet) != bool(time_zone):
        raise click.UsageError("--quiet and --time-zone go together.")
    if quiet:
        hours = _HOURS.fullmatch(quiet)
        if hours is None:
            raise click.BadParameter(f"--quiet {quiet[:40]}: write it as 21:00-08:00")
        message.quiet_hours.CopyFrom(
            message_pb2.QuietHours(**{"from": hours[1], "to": hours[2], "time_zone": time_zone})
        )
    return message


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_TEMPLATE_BYTES_MAX + 1)
        return content.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise CommandError(f"--template-file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"--template-file {path}: it is not UTF-8: save it as UTF-8") from None


def _told(error: CallError, _: object) -> str | None:
    option = _FIELDS.get(error.field)
    return None if option is None else f"{option}: {error.message.removeprefix(f'{error.field}: ')}"


def _message_options(command: Command) -> Command:
    return audience_options(filter_options(gathered(command, _OPTIONS, "message", _message, _told)))


def _complete(
    message: message_pb2.Message, member_id: str, asked: Asked, wanted: report_pb2.DownlineFilter
) -> message_pb2.Message:
    message.audience.CopyFrom(message_pb2.Audience(member_id=member_id, options=asked.options(), filter=wanted))
    return message


@contextlib.asynccontextmanager
async def _asking(session: Session) -> AsyncIterator[Messages]:
    async with session.client() as client:
        yield client.messages


@click.group()
def message() -> None:
    """Messages to a downline: to each of its members one, whatever dies in between."""


@message.command()
@prints(PreviewJson)
@click.argument("member_id", metavar="[ID]", default="")
@click.option("--sample", "sample_size", type=WholeRange(1, 100), default=3, help="Letters to show.")
@common_options
@_message_options
def preview(
    session: Session,
    member_id: str,
    sample_size: int,
    message: message_pb2.Message,
    asked: Asked,
    wanted: report_pb2.DownlineFilter,
) -> None:
    """How many of ID's downline would get a message, some of the letters, and what they would cost; no ID: everybody.

    ID itself is one of them, unless --min level 1 is given.
    """

    async def body() -> message_pb2.PreviewMessageResponse:
        async with _asking(session) as messages:
            return await messages.preview(_complete(message, member_id, asked, wanted), sample_size=sample_size)

    answer = run(body())
    if session.json:
        print_json(
            PreviewJson(
                audience=answer.audience,
                opted_out=answer.opted_out,
                recipients=answer.recipients,
                price=answer.price,
                cost=answer.cost,
                sample=[letter_json(each) for each in answer.sample],
                as_of=as_of_json(answer.as_of),
            )
        )
        return
    print_table(["member_id", "text"], [(each.member_id, each.text) for each in answer.sample])
    out = f", {answer.opted_out:,} of the audience want none" if answer.opted_out else ""
    click.echo(f"{counted(answer.recipients, 'letter')} at {answer.price} each: {answer.cost}{out}")
    click.echo(as_of_text(answer.as_of))


@message.command()
@prints(SentJson)
@click.argument("member_id", metavar="[ID]", default="")
@click.option("--id", "message_id", required=True, help="Your own name for it: nobody gets a message twice under one.")
@common_options
@_message_options
def send(
    session: Session,
    member_id: str,
    message_id: str,
    message: message_pb2.Message,
    asked: Asked,
    wanted: report_pb2.DownlineFilter,
) -> None:
    """Sends a message to ID's downline, ID itself included unless --min level 1 is given; no ID: to everybody.

    The same command may be run again: it is sent once.
    """
    message.message_id = message_id

    async def body() -> message_pb2.SendMessageResponse:
        async with _asking(session) as messages:
            return await messages.send(_complete(message, member_id, asked, wanted))

    answer = run(body())
    if session.json:
        print_json(SentJson(**status_json(answer.status), duplicate=answer.duplicate))
        return
    before = " (it was taken before)" if answer.duplicate else ""
    click.echo(f"message {message_id} is taken{before}: {state_text(answer.status)}")
    click.echo(f"Next: fasttree message status {message_id}")


@message.command()
@prints(MessageJson)
@click.argument("message_id", metavar="ID")
@click.option("--wait", is_flag=True, help="Waits until it is done, cancelled or failed; exit code 1 where it failed.")
@common_options
def status(session: Session, message_id: str, wait: bool) -> None:
    """How far a message is."""
    progress = Progress(quiet=session.json)

    async def body() -> message_pb2.MessageStatus:
        async with _asking(session) as messages:
            while True:
                found = await messages.get(message_id)
                if not wait or found.state in FINAL:
                    return found
                progress.renew(f"{message_id}: {state_text(found)}; {counts_text(found)}")
                await asyncio.sleep(_POLL_S)

    found = run(body())
    progress.clear()
    print_status(found, as_json=session.json)
    if wait and found.state == message_pb2.MESSAGE_STATE_FAILED:
        raise CommandError(f"message {message_id} failed: {found.reason}")


@message.command("list")
@prints(list[MessageJson])
@common_options
def list_messages(session: Session) -> None:
    """Every message, the newest first."""

    async def body() -> list[message_pb2.MessageStatus]:
        async with _asking(session) as messages:
            return [each async for each in messages.list()]

    found = run(body())
    if session.json:
        print_json([status_json(each) for each in found])
        return
    print_table(
        ["message_id", "channel", "state", "letters", "sent", "dead", "opted_out", "waiting"],
        [
            (
                each.message.message_id, each.message.channel, state_text(each), each.counts.total,
                each.counts.sent, each.counts.dead, each.counts.opted_out, each.counts.waiting,
            )
            for each in found
        ],
    )  # fmt: skip


def _changing(
    name: str, help_text: str, change: Callable[[Messages, str], Awaitable[message_pb2.MessageStatus]]
) -> None:
    @message.command(name, help=help_text)
    @prints(MessageJson)
    @click.argument("message_id", metavar="ID")
    @common_options
    def command(session: Session, message_id: str) -> None:
        async def body() -> message_pb2.MessageStatus:
            async with _asking(session) as messages:
                return await change(messages, message_id)

        print_status(run(body()), as_json=session.json)


_changing("pause", "Nothing more of a message goes out until it is resumed.", Messages.pause)
_changing("resume", "A paused message goes on.", Messages.resume)
_changing("cancel", "Nothing more of a message ever goes out.", Messages.cancel)


@message.command()
@prints(list[LetterJson], ResentJson)
@click.argument("message_id", metavar="ID")
@click.argument("member_ids", nargs=-1, metavar="[MEMBER…]")
@click.option("--resend", is_flag=True, help="Hands them over again: those of MEMBER…, or all.")
@common_options
def dead(session: Session, message_id: str, member_ids: tuple[str, ...], resend: bool) -> None:
    """Letters of a message that their sender refused, or could not take however often it was tried."""
    if member_ids and not resend:
        raise click.UsageError("MEMBER… says whose letters are handed over again: give --resend too.")

    async def again() -> message_pb2.ResendDeadLettersResponse:
        async with _asking(session) as messages:
            return await messages.resend(message_id, member_ids)

    async def body() -> list[message_pb2.Letter]:
        async with _asking(session) as messages:
            return [each async for each in messages.dead_letters(message_id)]

    if not resend:
        print_letters(run(body()), as_json=session.json)
        return
    answer = run(again())
    if session.json:
        print_json(ResentJson(**status_json(answer.status), resent=answer.letters))
    else:
        click.echo(f"{counted(answer.letters, 'letter waits', 'letters wait')} again")


@message.command("opt-out")
@prints(list[OptOutJson], OptOutsChangedJson)
@click.argument("member_ids", nargs=-1, metavar="[MEMBER…]")
@click.option("--channel", default="", help="On one channel alone.")
@click.option("--undo", is_flag=True, help="They want messages again.")
@common_options
def opt_out(session: Session, member_ids: tuple[str, ...], channel: str, undo: bool) -> None:
    """Members who want no messages, from now on, also of those under way; without MEMBER: lists them."""
    if not member_ids and (channel or undo):
        raise click.UsageError("Name members: without them, those who want no messages are listed.")

    async def change() -> int:
        async with _asking(session) as messages:
            return await messages.set_opt_outs(member_ids, channel=channel, opted_in=undo)

    async def body() -> list[message_pb2.OptOut]:
        async with _asking(session) as messages:
            return [each async for each in messages.opt_outs()]

    if member_ids:
        changed = run(change())
        if session.json:
            print_json(OptOutsChangedJson(members=len(member_ids), changed=changed))
        else:
            want = "messages again" if undo else "no messages"
            click.echo(f"{counted(len(member_ids), 'member wants', 'members want')} {want}, {changed} of them newly")
        return
    found = run(body())
    if session.json:
        print_json([OptOutJson(member_id=each.member_id, channel=each.channel, in_file=each.in_file) for each in found])
    else:
        print_table(
            ["member_id", "channel", "from"],
            [(each.member_id, each.channel or "all", "the file" if each.in_file else "here") for each in found],
        )
