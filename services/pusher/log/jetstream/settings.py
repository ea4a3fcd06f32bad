"""`[pusher]`, `nats_…`: how the pusher uses the servers of a NATS cluster."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from services.shared.config.bounds import OptionalFile, Seconds
from services.shared.config.sections import Settings

STREAM_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,64}")
StreamName = Annotated[
    str,
    Meta(
        pattern=rf"\A{STREAM_PATTERN.pattern}\Z", description="a name of 1 to 64 of A-Z a-z 0-9 _ -, as a stream has it"
    ),
]
#: No bound of its own: Helm's expressions (RE2) have none above a thousand, counted through what repeats.
_MONITOR = r"https?://[!-+\--~]+"
MonitoringUrls = Annotated[
    str,
    Meta(
        pattern=rf"\A(?:{_MONITOR}(?:,{_MONITOR}){{0,15}})?\Z",
        max_length=4_000,
        description="http://host:8222, or up to 16 of them with commas between; or empty",
    ),
]


class JetstreamSettings(Settings, frozen=True, kw_only=True):
    """The servers, beside `log_url`."""

    #: The stream that holds the log: one for each cluster. Its messages have the subjects STREAM.records, STREAM.state
    #: and STREAM.spare.
    nats_stream: StreamName = "fasttree"
    #: Replicas of a stream that the pusher makes, each on another server. With 1, the log is lost with that server.
    nats_replicas: Annotated[int, Meta(ge=1, le=5)] = 3
    #: Where the servers tell what they are set to (`http` of each), so that the pusher knows whether they write to
    #: their disks before they answer (`sync_interval: always`).
    nats_monitoring_urls: MonitoringUrls = ""
    #: File with the user's credentials, as `nsc` makes it. A password in `log_url` is refused: settings are shown.
    nats_credentials_file: OptionalFile = ""
    #: File whose first line is the password of the user that `log_url` names.
    nats_password_file: OptionalFile = ""
    #: The authorities that the servers' certificates are held against; empty: the system's, where `log_url` says tls.
    nats_ca_file: OptionalFile = ""
    #: The pusher's own certificate and key, where the servers ask for one.
    nats_certificate_file: OptionalFile = ""
    #: The key of that certificate; empty: it is in the same file.
    nats_key_file: OptionalFile = ""
    #: How long an attempt to connect may take, in seconds.
    nats_connect_timeout_s: Seconds = 2.0
    #: How long a server may take to answer, in seconds; then another one is asked.
    nats_request_timeout_s: Seconds = 3.0
    #: How long a write waits for servers that are away, or for a majority of them, in seconds, before it is refused:
    #: less than a client waits by default (30 s), which is so told why.
    nats_patience_s: Seconds = 25.0
