"""`[pusher]`: the pusher's settings."""

from __future__ import annotations

import msgspec

from services.pusher.admission.settings import AdmissionSettings
from services.pusher.fanout.progress import ReplicationSettings
from services.pusher.imports.retention import RetentionSettings
from services.pusher.imports.rollout import RolloutSettings


class PusherSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[pusher]`. Times are seconds, sizes are as their names say."""

    #: host:port of the gRPC port; port 0 takes a free one.
    listen: str = "0.0.0.0:50300"
    #: host:port of the HTTP port (health, metrics); port 0 takes a free one.
    http_listen: str = "0.0.0.0:50310"
    #: host:port at which nodes reach this pusher; empty: `listen`, with 127.0.0.1 for an address that means every one.
    advertise: str = ""
    #: Folder of the log and the import files; this process's own.
    folder: str = "pusher"
    #: Folder that is watched for import files; empty: none. Taken ones move to `done/` in it, with a result text.
    upload_folder: str = ""
    #: How often it is looked at; a file without a `.done` marker is taken once it has not changed for
    #: `upload_stable_s`.
    upload_poll_s: float = 0.5
    #: See `upload_poll_s`.
    upload_stable_s: float = 2.0

    #: Updates of one stream that may wait for the disk; the client is held back beyond it. (Long ones count several
    #: times.)
    push_stream_updates_max: int = 10_000
    #: Updates of all streams together that may wait for the disk.
    push_updates_max: int = 50_000
    #: Most updates that one fsync covers.
    group_updates_max: int = 5_000
    #: How long a receipt may wait for nodes (ack levels beyond durable), unless the call's own deadline is earlier.
    ack_timeout_s: float = 10.0

    #: Page cache of the log, for the index of ids.
    log_cache_mib: int = 128
    #: Most pages of 4 KiB that the log may have; 0: as many as the disk has room for.
    log_pages_max: int = 0
    #: Newest records kept in memory, as bytes, so that fan-out does not read the disk.
    tail_mib: int = 64
    #: Records are kept at least so long; 0: only for as long as something needs them.
    retention_age_s: float = 30 * 86_400.0
    #: How long a node that is away keeps the records that it lacks in the log; afterwards it takes a snapshot.
    retention_away_s: float = 7 * 86_400.0
    #: How often old records and old import files are looked for.
    retention_poll_s: float = 60.0
    #: Import files that are kept: the one in force, the ones before it and newer ones; at least 2.
    import_files_kept: int = 3
    #: Largest import file.
    import_bytes_max: int = 64 << 30

    #: Most updates in one message to a node.
    batch_updates_max: int = 2_000
    #: Most bytes in one message to a node (one update is always allowed).
    batch_bytes_max: int = 1 << 20
    #: Updates that one node may have been sent and not applied yet.
    window_updates: int = 20_000
    #: Bytes that one node may have been sent and not applied yet.
    window_bytes: int = 8 << 20
    #: A node hears how far the log goes at least so often.
    heartbeat_s: float = 0.5
    #: A node that does not answer the hello for so long is tried again.
    connect_timeout_s: float = 3.0
    #: A node that owes an answer for so long is cut off and tried again.
    stall_timeout_s: float = 10.0
    #: First and longest wait before a node is tried again.
    backoff_initial_s: float = 0.05
    #: See `backoff_initial_s`.
    backoff_max_s: float = 1.0

    #: How long a new import waits for a node that is not the primary to try it first.
    canary_patience_s: float = 10.0
    #: After so many nodes failed in the middle of it, an import that no node has taken is refused.
    canary_deaths_max: int = 3
    #: A load that shows no progress for so long is given up.
    load_stall_s: float = 120.0

    #: How long open streams have to end on SIGTERM.
    grace_s: float = 5.0

    def admission(self) -> AdmissionSettings:
        """The part that the admission core needs."""
        return AdmissionSettings(
            stream_updates_max=self.push_stream_updates_max,
            updates_max=self.push_updates_max,
            ack_timeout_s=self.ack_timeout_s,
        )

    def replication(self) -> ReplicationSettings:
        """The part that the fan-out core needs."""
        return ReplicationSettings(
            batch_updates_max=self.batch_updates_max,
            batch_bytes_max=self.batch_bytes_max,
            window_updates=self.window_updates,
            window_bytes=self.window_bytes,
            heartbeat_s=self.heartbeat_s,
            connect_timeout_s=self.connect_timeout_s,
            stall_timeout_s=self.stall_timeout_s,
            backoff_initial_s=self.backoff_initial_s,
            backoff_max_s=self.backoff_max_s,
        )

    def rollout(self) -> RolloutSettings:
        """The part that the rollout core needs."""
        return RolloutSettings(
            canary_patience_s=self.canary_patience_s,
            canary_deaths_max=self.canary_deaths_max,
            load_stall_s=self.load_stall_s,
        )

    def retention(self) -> RetentionSettings:
        """The part that says what is forgotten."""
        return RetentionSettings(
            age_s=self.retention_age_s,
            away_s=self.retention_away_s,
            poll_s=self.retention_poll_s,
            files_kept=self.import_files_kept,
        )
