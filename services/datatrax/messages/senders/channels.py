"""The channels that messages go out on: a TOML file with a table for each.

[sms]
sender = "webhook"
url = "https://gateway.example.com/messages"
key_file = "/etc/fasttree/sms.key"
price = "0.0450"
limit_a_minute = 3000

[voice]
sender = "spool"
folder = "/datatrax/fasttree/voice"
"""

from __future__ import annotations

import decimal
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from services.datatrax.messages.senders.sender import Sender
from services.datatrax.messages.senders.spool import SpoolOptions, SpoolSender
from services.datatrax.messages.senders.webhook import WebhookOptions, WebhookSender
from services.datatrax.messages.under_way import Lane
from services.shared.config.bounds import Seconds
from services.shared.config.text_file import read_text_file
from services.shared.domain.sentences import quoted, system_words
from services.shared.forms import Form

CHANNELS_MAX: Final = 64
_FILE_BYTES_MAX: Final = 64 << 10
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_PRICE: Final = r"\A[0-9]{1,9}(?:\.[0-9]{1,6})?\Z"


class ChannelsError(ValueError):
    """A file of channels that can't be: one line with the place and the mend."""


class _Common(msgspec.Struct, frozen=True, kw_only=True):
    """What every channel may say; its sender's own options stand beside it."""

    sender: str
    #: Of one letter: a decimal number in whatever currency.
    price: Annotated[str, msgspec.Meta(pattern=_PRICE)] = "0"
    #: Letters at a time that are handed over and whose answers are not on disk yet.
    window: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 64
    #: Letters in any minute, of all messages together; 0: no limit.
    limit_a_minute: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    #: How often a letter is handed over before it is dead.
    attempts_max: Annotated[int, msgspec.Meta(ge=1, le=100)] = 8
    #: Waits between two tries, in seconds: the first, twice as long each time, up to the longest.
    retry_initial_s: Seconds = 1.0
    retry_max_s: Seconds = 300.0


class _Kind(NamedTuple):
    form: Form[Any]
    make: Callable[[Any, _Common], Sender]


_COMMON: Final = Form[_Common](_Common)
SENDERS: Final[Mapping[str, _Kind]] = {
    "webhook": _Kind(Form[WebhookOptions](WebhookOptions), lambda own, common: WebhookSender(own, common.window)),
    "spool": _Kind(Form[SpoolOptions](SpoolOptions), lambda own, common: SpoolSender(own)),
}


class Channel(NamedTuple):
    """One channel."""

    lane: Lane
    sender: Sender
    price: decimal.Decimal


def read_channels(path: Path) -> dict[str, Channel]:
    """The channels of a file, by name. Blocks. Raises ChannelsError."""
    try:
        tables = tomllib.loads(read_text_file(path, _FILE_BYTES_MAX))
    except OSError as error:
        raise ChannelsError(system_words(error)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ChannelsError(f"no TOML: {error}") from None
    if not 1 <= len(tables) <= CHANNELS_MAX:
        raise ChannelsError(f"{len(tables)} channels: write 1 to {CHANNELS_MAX}, each a table such as [sms]")
    return {name: _channel(name, table) for name, table in tables.items()}


def _channel(name: str, table: Any) -> Channel:
    if not _NAME.fullmatch(name):
        raise ChannelsError(f"[{quoted(name)[1:-1]}]: a channel's name is 1 to 32 of a-z 0-9 _ -, a letter first")
    if not isinstance(table, dict):
        raise ChannelsError(f"{name}: write it as a table [{name}]")
    known = _Common.__struct_fields__
    try:
        common = _COMMON.of({key: value for key, value in table.items() if key in known})
        kind = SENDERS.get(common.sender)
        if kind is None:
            raise ChannelsError(f"[{name}]: there is no sender {quoted(common.sender)}: use {' or '.join(SENDERS)}")
        own = kind.form.of({key: value for key, value in table.items() if key not in known})
    except msgspec.ValidationError as error:
        raise ChannelsError(f"[{name}]: {error}") from None
    if problem := own.problem():
        raise ChannelsError(f"[{name}] {problem}")
    if common.retry_max_s < common.retry_initial_s:
        raise ChannelsError(
            f"[{name}] retry_max_s: must be retry_initial_s at least, which is {common.retry_initial_s:g}"
        )
    lane = Lane(common.window, common.limit_a_minute, common.attempts_max, common.retry_initial_s, common.retry_max_s)
    return Channel(lane, kind.make(own, common), decimal.Decimal(common.price))
