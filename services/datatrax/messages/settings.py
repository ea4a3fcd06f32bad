"""What messages are set by: a part of `[datatrax]`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from services.shared.config.bounds import Address, Bytes, OptionalFile, OptionalOwnFolder, Port, Seconds
from services.shared.config.sections import Problem, Settings


class MessageSettings(Settings, frozen=True, kw_only=True):
    """Messages to downlines."""

    #: Port of messages (gRPC); 0 takes a free one.
    message_port: Port = 50221
    #: Folder of what is known of messages and their letters; empty: there are none, and the port is not opened.
    message_folder: OptionalOwnFolder = ""
    #: TOML file of the channels that messages go out on, each with its sender and its price.
    message_channels_file: OptionalFile = ""
    #: File of members who want no messages, one a line, with a channel behind a tab or without; empty: none.
    message_opt_outs_file: OptionalFile = ""
    #: How often that file is looked at, in seconds.
    message_opt_outs_poll_s: Seconds = 2.0
    #: host:port of the VIP, which is asked who is in an audience.
    vip: Address = "127.0.0.1:50100"
    #: Messages that are not finished yet; one more is refused.
    messages_open_max: Annotated[int, Meta(ge=1, le=1_000)] = 100
    #: Newest finished messages whose letters are kept; of older ones only the counts.
    messages_kept: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    #: Largest audience; a message to more fails, and nothing of it is sent.
    message_recipients_max: Annotated[int, Meta(ge=1, le=10_000_000)] = 1_000_000
    #: Size at which `htelevox.log` is begun anew, in bytes; the one before is kept.
    message_log_bytes_max: Bytes = 16 << 20

    def problems(self) -> Iterator[Problem]:
        """What messages need."""
        if self.message_folder and not self.message_channels_file:
            yield Problem("message_channels_file", "must name a file of channels where message_folder is set")
