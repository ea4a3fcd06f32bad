"""`[treenode]`: what a tree node is set by."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, field

from services.shared.config.bounds import (
    Bytes,
    Count,
    CountFrom0,
    Host,
    OptionalHost,
    OptionalNodeName,
    OwnFolder,
    Percent,
    Port,
    Seconds,
    SecondsFrom0,
)
from services.shared.config.load import SettingsError
from services.shared.config.sections import Problem, Settings
from services.shared.serving.settings import ServingSettings
from services.treenode.node.settings import NodeSettings
from services.treenode.snapshots.stored.settings import SnapshotStoreSettings


class TreeNodeSettings(Settings, frozen=True, kw_only=True):
    """One node. Ports and folders differ from node to node on one machine; the rest is best alike in a cluster."""

    #: The node's name, unique in the cluster; empty: the machine's host name.
    name: OptionalNodeName = ""
    #: Address to listen on, on all three ports; "0.0.0.0" or "::" for every one of the machine.
    listen_host: Host = "127.0.0.1"
    #: Host name at which the others reach this node; empty: `listen_host`, or the machine's host name where that is
    #: every address.
    host: OptionalHost = ""
    #: Port of the reports (gRPC); 0 takes a free one.
    report_port: Port = 50100
    #: Port of updates, imports and snapshots (gRPC); 0 takes a free one.
    instant_port: Port = 50201
    #: Port of health, metrics and debug logs (HTTP); 0 takes a free one.
    http_port: Port = 50200
    #: Folder of the node's own state: snapshots, import files, logs. One process has it at a time.
    state_folder: OwnFolder = "state/treenode"

    #: A snapshot is written after so many updates …
    snapshot_updates: Count = 1_000_000
    #: … or after this time when anything changed, in seconds.
    snapshot_interval_s: Seconds = 300.0
    #: Snapshots kept, the newest included; 2 or more, so that a damaged one has one before it.
    snapshots_kept: Annotated[int, Meta(ge=2, le=1_000)] = 2
    stored: SnapshotStoreSettings = field(default_factory=SnapshotStoreSettings)

    #: Of so many of the newest periods that are closed for good, the state at their closing is kept in files, and
    #: answers reports. A file is about as large as a snapshot.
    periods_kept: Annotated[int, Meta(ge=1, le=1_200)] = 24
    #: Such files that are open (mapped) at once; one more waits until another one is not asked for.
    periods_open_max: Annotated[int, Meta(ge=1, le=64)] = 4
    #: The other nodes are asked this often which of them they keep, in seconds.
    periods_check_s: Seconds = 60.0

    #: Time between two heartbeats to the coordinator, in seconds.
    heartbeat_s: Seconds = 0.25
    #: Heartbeats leave from a thread of their own, so a node that is busy keeps its role. One whose event loop has said
    #: nothing for so long, in seconds, is taken for dead: no more leave, and the lease ends.
    loop_silence_s_max: Seconds = 3.0
    node: NodeSettings = field(default_factory=NodeSettings)
    serving: ServingSettings = field(default_factory=ServingSettings)
    #: How long a node that is asked to end goes on answering, so that load balancers see that it is not ready.
    drain_notice_s: SecondsFrom0 = 0.5
    #: After that, how long calls under way may take to finish, in seconds.
    drain_grace_s: SecondsFrom0 = 5.0

    #: Longest slice of updates applied at once, in milliseconds: reports wait no longer than that.
    apply_slice_ms: Annotated[float, Meta(ge=0.1, le=1_000)] = 2.0
    #: Streams of downlines at the same time; one more is refused. Each has a copy of its rows until its client has
    #: them, about 60 bytes a member with the default columns.
    report_streams_max: Annotated[int, Meta(ge=1, le=10_000)] = 8
    #: A stream whose client takes nothing for so long is ended (UNAVAILABLE: it may ask again), in seconds.
    report_stream_stall_s_max: Seconds = 60.0
    #: A connection to the report port is asked to end after about this time, in seconds, so that the clients of a load
    #: balancer that forwards connections spread over all nodes again; calls and streams on it finish. 0: never.
    report_connection_age_s_max: SecondsFrom0 = 600.0
    #: Copies of rows for large reports, of all calls together, in bytes; a call that finds no room waits for it. One
    #: copy is always allowed, however large.
    report_copy_bytes_max: Bytes = 2 << 30
    #: Calls that wait for that room; one more is refused.
    report_copies_waiting_max: Count = 64
    #: Calls that wait for a position (min_position, GetDigest); one more is refused.
    report_position_waits_max: Count = 1_000
    #: Threads that filter, sort and encode reports; no more than the process may use processors.
    report_threads: Annotated[int, Meta(ge=1, le=1_024)] = 2
    #: Size of a stream's messages, in bytes.
    report_message_bytes: Annotated[int, Meta(ge=4_096, le=8 << 20)] = 768 * 1024
    #: Longest wait for a request's min_position where its call has no deadline, in seconds.
    report_position_wait_s_max: SecondsFrom0 = 30.0

    #: The tree is laid out anew once so many places have changed since (enrolments, moves, removals), in percent of the
    #: members: reports are exact before and after, and faster after.
    relayout_changed_percent: Percent = 10.0
    #: But not before so many have changed.
    relayout_changes_min: CountFrom0 = 20_000
    #: Largest import file, in bytes.
    import_bytes_max: Bytes = 64 * 1024**3
    #: Import files kept for peers, the newest included.
    imports_kept: Annotated[int, Meta(ge=1, le=1_000)] = 2
    #: How long after its start a node starts the process that will read the next import file, so that the file needn't
    #: wait for it, in seconds; it takes about 80 MB. 0: that process is started when a file comes.
    import_process_after_s: SecondsFrom0 = 5.0
    #: A source of an import or snapshot that brings less than 1 MiB (and not the rest) in so long is left for the next
    #: one, in seconds.
    download_silence_s: Seconds = 15.0
    #: A pusher's log that gives nothing for so long, in seconds, is not read on: what it is read for (a new tree, a
    #: closed month, the tree from before a failure) ends there, until it is asked for again.
    log_silence_s: Seconds = 15.0

    #: What personal columns hold a node asks the pusher for by calls of at most so long, in seconds …
    personal_call_s: Annotated[float, Meta(ge=30, le=600)] = 30.0
    #: … and again after so long where one failed.
    personal_again_s: Seconds = 1.0

    #: Largest debug log file, in bytes; one older file is kept beside it.
    debug_log_bytes_max: Annotated[int, Meta(ge=4_096, le=1 << 40)] = 8 * 1024**2
    #: Most lines a second that instant updates write to hpushup.log; the rest is counted in one line. None where the
    #: node seals its state: they name members.
    push_log_lines_per_s: CountFrom0 = 200

    def problems(self) -> Iterator[Problem]:
        """Ports that collide."""
        for later, earlier in (
            ("instant_port", "report_port"),
            ("http_port", "report_port"),
            ("http_port", "instant_port"),
        ):
            if getattr(self, later) == getattr(self, earlier) != 0:
                yield Problem(later, f"must differ from {earlier}, which is {getattr(self, earlier)}")

    @property
    def state_path(self) -> Path:
        """The state folder, whatever the working folder becomes."""
        return Path(self.state_folder).absolute()


def check_lease(settings: TreeNodeSettings, lease_s: float) -> None:
    """Where the coordinator's lease stands in the node's own settings too: a primary must be able to renew it.

    Raises:
        SettingsError: It could not.
    """
    longest_s = lease_s - settings.node.role.lease_margin_s
    if settings.heartbeat_s >= longest_s:
        raise SettingsError(
            f"treenode.heartbeat_s = {settings.heartbeat_s:g}: must be less than coordinator.lease_s less "
            f"treenode.lease_margin_s, which is {longest_s:g}"
        )


def with_names(settings: TreeNodeSettings) -> TreeNodeSettings:
    """The settings with name and host filled in."""
    host = settings.host or settings.listen_host
    if host in ("0.0.0.0", "::", "[::]"):
        host = socket.gethostname()
    return msgspec.structs.replace(settings, name=settings.name or socket.gethostname(), host=host)
