"""How messages and letters are shown, to people and to programs."""

from __future__ import annotations

from typing import TypedDict

import click

from fasttree.client.counts import counted
from fasttree.client.forms.members import AsOfJson, as_of_json, enum_names
from fasttree.command.output import as_of_text, print_json, print_table
from fasttree.v1 import message_pb2

_STATES = enum_names(message_pb2.MessageState.DESCRIPTOR)
FINAL = (message_pb2.MESSAGE_STATE_DONE, message_pb2.MESSAGE_STATE_CANCELLED, message_pb2.MESSAGE_STATE_FAILED)


class LettersJson(TypedDict):
    """How many letters of a message stand where."""

    total: int
    waiting: int
    under_way: int
    sent: int
    dead: int
    opted_out: int


class MessageJson(TypedDict):
    """How far a message is."""

    message_id: str
    channel: str
    state: str
    letters: LettersJson
    rate_a_minute: float
    seconds_left: float
    waits_until: str | None
    reason: str
    accepted_at: str
    finished_at: str | None
    as_of: AsOfJson | None


class SentJson(MessageJson):
    """The same of one that was handed over; `duplicate`: it was before."""

    duplicate: bool


class ResentJson(MessageJson):
    """The same, with how many of its dead letters wait again."""

    resent: int


class LetterJson(TypedDict):
    """A letter to one member."""

    member_id: str
    text: str
    columns: dict[str, str]
    attempts: int
    reason: str


class PreviewJson(TypedDict):
    """Who would get a message, and at what cost; prices as decimals."""

    audience: int
    opted_out: int
    recipients: int
    price: str
    cost: str
    sample: list[LetterJson]
    as_of: AsOfJson


class OptOutsChangedJson(TypedDict):
    """How many members were named, and for how many of them that is new."""

    members: int
    changed: int


class OptOutJson(TypedDict):
    """A member who wants no messages; an empty channel: on none."""

    member_id: str
    channel: str
    in_file: bool


def state_text(status: message_pb2.MessageStatus) -> str:
    """Where it stands, and what it waits for."""
    text = _STATES[status.state]
    if status.HasField("waits_until"):
        text += f", waits until {status.waits_until.ToJsonString()}"
    return text


def status_json(status: message_pb2.MessageStatus) -> MessageJson:
    """For programs."""
    counts = status.counts
    return {
        "message_id": status.message.message_id,
        "channel": status.message.channel,
        "state": _STATES[status.state],
        "letters": {
            "total": counts.total,
            "waiting": counts.waiting,
            "under_way": counts.under_way,
            "sent": counts.sent,
            "dead": counts.dead,
            "opted_out": counts.opted_out,
        },
        "rate_a_minute": round(status.rate_a_minute, 1),
        "seconds_left": round(status.seconds_left, 1),
        "waits_until": status.waits_until.ToJsonString() if status.HasField("waits_until") else None,
        "reason": status.reason,
        "accepted_at": status.accepted_at.ToJsonString(),
        "finished_at": status.finished_at.ToJsonString() if status.HasField("finished_at") else None,
        "as_of": as_of_json(status.as_of) if status.HasField("as_of") else None,
    }


def counts_text(status: message_pb2.MessageStatus) -> str:
    """Its letters, in one line."""
    counts = status.counts
    text = f"{counts.sent:,} of {counted(counts.total, 'letter')} sent"
    for number, words in ((counts.dead, "dead"), (counts.opted_out, "opted out"), (counts.waiting, "not sent")):
        if number:
            text += f", {number:,} {words}"
    return text


def print_status(status: message_pb2.MessageStatus, *, as_json: bool) -> None:
    """All of it."""
    if as_json:
        print_json(status_json(status))
        return
    click.echo(f"{status.message.message_id}: {state_text(status)}; {counts_text(status)}")
    if status.rate_a_minute and status.state not in FINAL:
        click.echo(f"{status.rate_a_minute:,.0f} a minute, {status.seconds_left:,.0f} s left")
    if status.reason:
        click.echo(status.reason)
    if status.HasField("as_of"):
        click.echo(as_of_text(status.as_of))


def print_letters(letters: list[message_pb2.Letter], *, as_json: bool) -> None:
    """Letters that are dead."""
    if as_json:
        print_json([letter_json(each) for each in letters])
    else:
        print_table(
            ["member_id", "attempts", "reason", "text"],
            [(each.member_id, each.attempts, each.reason, each.text) for each in letters],
        )


def letter_json(letter: message_pb2.Letter) -> LetterJson:
    """For programs."""
    return {
        "member_id": letter.member_id,
        "text": letter.text,
        "columns": dict(letter.columns),
        "attempts": letter.attempts,
        "reason": letter.reason,
    }
