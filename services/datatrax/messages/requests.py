"""What a request has to be like before anything of it is done, and what the core has to know of a message."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

from fasttree.v1 import message_pb2
from services.datatrax.messages.audience.template import Template, TemplateError
from services.datatrax.messages.events import Opened
from services.datatrax.messages.journal import Row
from services.datatrax.messages.quiet import QuietHours, QuietHoursError, quiet_hours
from services.shared.domain.members import id_problem
from services.shared.domain.sentences import quoted
from services.shared.serving.errors import InvalidArgumentError

COLUMNS_MAX: Final = 32
LIMIT_A_MINUTE_MAX: Final = 1_000_000
MEMBER_IDS_MAX: Final = 10_000
#: The year 9999, which a calendar can still tell.
_SECONDS_MAX: Final = 253_402_300_799
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_NUMBER = re.compile(r"[0-9]{1,18}")


def check_message(message: message_pb2.Message, channels: Collection[str], *, needs_id: bool) -> None:
    """What can be said without asking a node; blocks. Raises InvalidArgumentError."""
    if needs_id or message.message_id:
        check_message_id(message.message_id)
    check_channel(message.channel, channels)
    try:
        Template(message.template)
    except TemplateError as error:
        raise InvalidArgumentError(f"template: {error}", field="template", reason="TEMPLATE_INVALID") from None
    _check_columns(message.columns)
    if message.audience.options.columns:
        raise InvalidArgumentError(
            "audience.options.columns must be empty: name what the sender gets in columns",
            field="audience.options.columns",
        )
    if message.HasField("not_before"):
        at = message.not_before
        if not (0 < at.seconds <= _SECONDS_MAX and 0 <= at.nanos < 1_000_000_000):
            raise InvalidArgumentError("not_before is no time after 1970", field="not_before")
    if message.limit_a_minute > LIMIT_A_MINUTE_MAX:
        raise InvalidArgumentError(
            f"limit_a_minute is {message.limit_a_minute:,}: {LIMIT_A_MINUTE_MAX:,} at most, 0 for none",
            field="limit_a_minute",
        )
    try:
        quiet_of(message)
    except QuietHoursError as error:
        raise InvalidArgumentError(f"quiet_hours: {error}", field=f"quiet_hours.{error.field}") from None


def check_message_id(message_id: str) -> None:
    """Raises InvalidArgumentError."""
    if not _ID.fullmatch(message_id):
        raise InvalidArgumentError(
            f"message_id {quoted(message_id)}: use 1 to 64 of A-Z a-z 0-9 . _ -, no point first",
            field="message_id",
            value=message_id,
        )


def check_channel(channel: str, channels: Collection[str]) -> None:
    """Raises InvalidArgumentError."""
    if channel not in channels:
        raise InvalidArgumentError(
            f"there is no channel {quoted(channel)}: {', '.join(sorted(channels))}",
            field="channel",
            value=channel,
            reason="CHANNEL_UNKNOWN",
        )


def check_member_ids(member_ids: Sequence[str], least: int) -> None:
    """Raises InvalidArgumentError."""
    if not least <= len(member_ids) <= MEMBER_IDS_MAX:
        raise InvalidArgumentError(
            f"{len(member_ids):,} member_ids: {least} to {MEMBER_IDS_MAX:,} at a time", field="member_ids"
        )
    for each in member_ids:
        if problem := id_problem(each):
            raise InvalidArgumentError(f"member_ids: {problem}", field="member_ids", value=each)


def page_size(asked: int, usual: int, most: int) -> int:
    """Raises InvalidArgumentError."""
    if asked > most:
        raise InvalidArgumentError(
            f"page_size is {asked:,}: {most:,} at most", field="page_size", value=str(asked), reason="PAGE_TOO_LARGE"
        )
    return asked or usual


def page_number(token: str, first: int) -> int:
    """The number that a page token holds. Raises InvalidArgumentError."""
    if not token:
        return first
    if not _NUMBER.fullmatch(token):
        raise page_token_error(token)
    return int(token)


def page_token_error(token: str) -> InvalidArgumentError:
    """It is none of ours."""
    return InvalidArgumentError(
        "page_token is none of an answer: ask for the first page again",
        field="page_token",
        value=token,
        reason="PAGE_TOKEN_INVALID",
    )


def opened_of(row: Row, message: message_pb2.Message) -> Opened:
    """A message as the core knows it; blocks. Raises QuietHoursError."""
    not_before_s = (
        message.not_before.seconds + message.not_before.nanos / 1e9 if message.HasField("not_before") else 0.0
    )
    return Opened(
        row.message_id, message.channel, row.phase, row.paused, not_before_s, quiet_of(message), message.limit_a_minute
    )


def quiet_of(message: message_pb2.Message) -> QuietHours | None:
    """Its quiet hours. Raises QuietHoursError."""
    if not message.HasField("quiet_hours"):
        return None
    hours = message.quiet_hours
    return quiet_hours(getattr(hours, "from"), hours.to, hours.time_zone)


def _check_columns(columns: Sequence[str]) -> None:
    if len(columns) > COLUMNS_MAX:
        raise InvalidArgumentError(f"{len(columns)} columns: {COLUMNS_MAX} at most", field="columns")
    if twice := next((each for each in columns if list(columns).count(each) > 1), None):
        raise InvalidArgumentError(f"columns: {quoted(twice)} stands there twice", field="columns", value=twice)
