"""`[treenode]`: what a tree node is set by."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec

from services.shared.config.load import SettingsError


class TreeNodeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One node. Ports and folders differ from node to node on one machine; the rest is best alike in a cluster."""

    #: The node's name, unique in the cluster; empty: the machine's host name.
    name: str = ""
    #: Address to listen on, on all three ports.
    listen_host: str = "0.0.0.0"
    #: Host name at which the others reach this node; empty: `listen_host`, or the machine's host name where that is
    #: every address.
    host: str = ""
    #: Port of the reports (gRPC); 0 takes a free one.
    report_port: int = 50100
    #: Port of updates, imports and snapshots (gRPC); 0 takes a free one.
    instant_port: int = 50201
    #: Port of health, metrics and debug logs (HTTP); 0 takes a free one.
    http_port: int = 50200
    #: Folder of the node's own state: snapshots, import files, logs. One process has it at a time.
    state_folder: str = "state/treenode"

    #: A snapshot is written after so many updates …
    snapshot_updates: int = 1_000_000
    #: … or after this time when anything changed, in seconds.
    snapshot_interval_s: float = 300.0
    #: Snapshots kept, the newest included; 2 or more, so that a damaged one has one before it.
    snapshots_kept: int = 2
    #: Largest snapshot taken from a peer, in bytes.
    snapshot_bytes_max: int = 64 * 1024**3

    #: Time between two heartbeats to the coordinator, in seconds.
    heartbeat_s: float = 0.25
    #: How long before the end of its lease a primary demotes itself, in seconds.
    lease_margin_s: float = 0.1
    #: A node that came up with a tree and hears no pusher for this long serves what it has, in seconds.
    catch_up_grace_s: float = 3.0
    #: Updates that a node may lack and still be called caught up, once it has all that were there when it connected.
    caught_up_lag_updates: int = 1_000
    #: How long a node that is asked to end goes on answering, so that load balancers see that it is not ready.
    drain_notice_s: float = 0.5
    #: After that, how long calls under way may take to finish, in seconds.
    drain_grace_s: float = 5.0

    #: Longest slice of updates applied at once, in milliseconds: reports wait no longer than that.
    apply_slice_ms: float = 2.0
    #: Streams of downlines at the same time; one more is refused. Each has a copy of its rows until its client has
    #: them, about 60 bytes a member with the default columns.
    report_streams_max: int = 8
    #: A stream whose client takes nothing for so long is ended (UNAVAILABLE: it may ask again), in seconds.
    report_stream_stall_s_max: float = 60.0
    #: A connection to the report port is asked to end after about this time, in seconds, so that the clients of a load
    #: balancer that forwards connections spread over all nodes again; calls and streams on it finish. 0: never.
    report_connection_age_s_max: float = 600.0
    #: Threads that filter, sort and encode reports.
    report_threads: int = 2
    #: Size of a stream's messages, in bytes.
    report_message_bytes: int = 768 * 1024
    #: Longest wait for a request's min_position where its call has no deadline, in seconds.
    report_position_wait_s_max: float = 30.0

    #: The tree is laid out anew once so many places have changed since (enrolments, moves, removals), in percent of the
    #: members: reports are exact before and after, and faster after.
    relayout_changed_percent: float = 10.0
    #: But not before so many have changed.
    relayout_changes_min: int = 20_000
    #: Largest import file, in bytes.
    import_bytes_max: int = 64 * 1024**3
    #: Import files kept for peers, the newest included.
    imports_kept: int = 2
    #: How long after its start a node starts the process that will read the next import file, so that the file needn't
    #: wait for it, in seconds; it takes about 80 MB. 0: that process is started when a file comes.
    import_process_after_s: float = 5.0
    #: Longest time that a source of an import or snapshot may be silent before the next one is tried, in seconds.
    download_silence_s: float = 15.0

    #: An import that removes more than this share of the members is refused unless forced, in percent.
    import_removed_percent_max: float = 5.0
    #: The same for members that it moves.
    import_moved_percent_max: float = 5.0
    #: The same for members whose volumes it changes; 100: never refused, since a new period changes every volume.
    import_volumes_changed_percent_max: float = 100.0
    #: Trees smaller than this are replaced without these thresholds: a share of few members says nothing.
    import_threshold_members_min: int = 1_000

    #: Largest debug log file, in bytes; one older file is kept beside it.
    debug_log_bytes_max: int = 8 * 1024**2
    #: Most lines a second that instant updates write to hpushup.log; the rest is counted in one line.
    push_log_lines_per_s: int = 200


def checked(settings: TreeNodeSettings) -> TreeNodeSettings:
    """The settings with name and host filled in.

    Raises:
        SettingsError: A value that can't be; one line that names it.
    """
    for field in (
        "snapshot_interval_s",
        "heartbeat_s",
        "apply_slice_ms",
        "download_silence_s",
        "catch_up_grace_s",
        "report_stream_stall_s_max",
    ):
        if not getattr(settings, field) > 0:
            raise SettingsError(f"[treenode] {field} = {getattr(settings, field)}: must be more than 0")
    for field in (
        "lease_margin_s",
        "drain_notice_s",
        "drain_grace_s",
        "caught_up_lag_updates",
        "relayout_changed_percent",
        "report_connection_age_s_max",
        "import_process_after_s",
    ):
        if not getattr(settings, field) >= 0:
            raise SettingsError(f"[treenode] {field} = {getattr(settings, field)}: must be 0 or more")
    minima = {"snapshots_kept": 2, "imports_kept": 1, "snapshot_updates": 1, "push_log_lines_per_s": 0}
    minima |= {"report_streams_max": 1, "report_threads": 1, "report_message_bytes": 4096}
    for field, least in minima.items():
        if getattr(settings, field) < least:
            raise SettingsError(f"[treenode] {field} = {getattr(settings, field)}: must be {least} or more")
    if settings.debug_log_bytes_max < 4096:
        raise SettingsError(f"[treenode] debug_log_bytes_max = {settings.debug_log_bytes_max}: must be 4096 or more")
    host = settings.host or settings.listen_host
    if host in ("0.0.0.0", "::", "[::]"):
        host = socket.gethostname()
    return msgspec.structs.replace(settings, name=settings.name or socket.gethostname(), host=host)


def state_folder(settings: TreeNodeSettings) -> Path:
    """The folder of the node's own state."""
    return Path(settings.state_folder).absolute()
