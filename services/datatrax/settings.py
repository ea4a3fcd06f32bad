"""`[datatrax]`: what the service for DataTrax's programs is set by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, field

from services.datatrax.cbldatatrax.keys import ENVIRONMENT_PATTERN
from services.datatrax.messages.settings import MessageSettings
from services.shared.config.bounds import (
    DAY_S,
    Count,
    Folder,
    Host,
    KeptSeconds,
    OptionalAddresses,
    OptionalFile,
    OptionalFolder,
    OptionalHost,
    OptionalOwnFolder,
    Port,
    Seconds,
    SecondsFrom0,
)
from services.shared.config.sections import Problem, Settings
from services.shared.serving.settings import ServingSettings

_ENVIRONMENT = "what keys of CBLDATATRAX end with: up to 16 of a-z 0-9; or empty"


class InstantSettings(Settings, frozen=True, kw_only=True):
    """The local instant port."""

    #: Port of lines (TCP): one update a line, one receipt a line; 0 takes a free one.
    instant_port: Port = 50201
    #: Layout of fixed-width records that come there; empty: JSON lines alone.
    instant_layout: OptionalFile = ""
    #: Programs that are connected at a time; one more is told so and closed.
    instant_connections_max: Annotated[int, Meta(ge=1, le=10_000)] = 100
    #: Longest line, in bytes.
    instant_line_bytes_max: Annotated[int, Meta(ge=1_024, le=1_048_576)] = 65_536
    #: Lines of one program that may wait for their receipts; then no more is read from it.
    instant_waiting_max: Count = 1_000
    #: How long a program may say nothing before it is closed, in seconds.
    instant_idle_s: Seconds = 3_600.0


class SpoolSettings(Settings, frozen=True, kw_only=True):
    """The spool."""

    #: Folder that programs drop files of updates into; empty: none. Taken ones move to `done/` in it, those of which
    #: something was refused to `refused/`, each with its receipts.
    spool_folder: OptionalOwnFolder = ""
    #: Folder of the layouts that say the form of records, by the beginning of a file's name; empty: `layouts/` there.
    layout_folder: OptionalFolder = ""
    #: How often it is looked at, in seconds.
    spool_poll_s: Seconds = 0.5
    #: A file without a `.done` marker, and not renamed from an unfinished name, is taken once it has not changed for so
    #: long, in seconds.
    spool_stable_s: SecondsFrom0 = 30.0
    #: A marker counts once it has not changed for so long, in seconds.
    spool_marker_settle_s: SecondsFrom0 = 1.0
    #: How long a file stays in `done/` with its receipts, and what was sent in `outgoing/sent/`, in seconds; 0: for
    #: good.
    spool_done_kept_s: KeptSeconds = 30.0 * DAY_S
    #: The same for `refused/` and `outgoing/refused/`, which somebody has to look at.
    spool_refused_kept_s: KeptSeconds = 90.0 * DAY_S
    #: The same for files with an unfinished name, which nobody has touched for so long.
    spool_unfinished_kept_s: KeptSeconds = 7.0 * DAY_S
    #: How often what is older is removed, in seconds.
    spool_clean_s: Seconds = 3_600.0


class ConfigurationSettings(Settings, frozen=True, kw_only=True):
    """DataTrax's own configuration."""

    #: CBLDATATRAX, by whose section [FastTree] the service goes: its ports and folders where no setting says them, and
    #: whether it takes updates. The file is watched; empty: none.
    cbldatatrax: OptionalFile = ""
    #: Whose cluster of that file it is, such as live; empty: the only one that has a cluster.
    environment: Annotated[str, Meta(pattern=rf"\A(?:{ENVIRONMENT_PATTERN})?\Z", description=_ENVIRONMENT)] = ""
    #: With it: the folder of DataTrax's host files, spools and nodes' progress.
    folder: Folder = "/datatrax/fasttree"
    #: Folder that stands for / in the paths of that file and in `folder`: for whoever tries it; empty: / itself.
    root: OptionalFolder = ""
    #: How often that file is looked at, in seconds; what has changed counts once two looks found the same.
    cbldatatrax_poll_s: Seconds = 1.0


class DataTraxSettings(Settings, frozen=True, kw_only=True):
    """What stands beside DataTrax's programs, on their machine."""

    #: Address to listen on. Whoever reaches it may push: the machine alone, by default.
    listen_host: Host = "127.0.0.1"
    #: Port of health, metrics and logs in a browser (HTTP), where 2016 had them; 0 takes a free one.
    http_port: Port = 50200
    #: Address of that port; empty: `listen_host`. The logs name members and their orders.
    http_host: OptionalHost = ""
    #: How long a node may take to tell the end of its logs, in seconds.
    logs_answer_s: Seconds = 5.0
    #: host:port of the pusher, or of each of several, with commas between.
    pusher: OptionalAddresses = "127.0.0.1:50300"

    configuration: ConfigurationSettings = field(default_factory=ConfigurationSettings)
    instant: InstantSettings = field(default_factory=InstantSettings)
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    messages: MessageSettings = field(default_factory=MessageSettings)
    serving: ServingSettings = field(default_factory=ServingSettings)

    #: Folder of a file for each node, `NODE.PORT` with instant_port, touched whenever the node took something (by
    #: cluster.coordinator); empty: none.
    progress_folder: OptionalOwnFolder = ""
    #: How long the file of a node stays that is not in the cluster any more, in seconds.
    progress_kept_s: KeptSeconds = 2_592_000.0
    #: What a receipt means: durable (on the pusher's disk), one (applied on one node), all (on every healthy node).
    ack: Annotated[str, Meta(pattern=r"\A(?:durable|one|all)\Z", description="durable, one or all")] = "durable"
    #: How long the pusher may be away before those who wait are told to push again, in seconds.
    patience_s: Seconds = 10.0
    #: How long receipts may take when the service is asked to end, in seconds.
    drain_grace_s: SecondsFrom0 = 5.0

    def problems(self) -> Iterator[Problem]:
        """Ports that collide, and nowhere to send to."""
        if self.messages.message_port in {self.http_port, self.instant.instant_port} - {0}:
            yield Problem("message_port", "must differ from instant_port and http_port")
        if self.http_port == self.instant.instant_port != 0:
            yield Problem("http_port", f"must differ from instant_port, which is {self.instant.instant_port}")
        if not self.pusher:
            yield Problem("pusher", "must name the pusher: there is nobody else to send to")
