"""`[pusher]`: what the pusher is set by."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path, PurePath

from msgspec import field

from services.pusher.admission.settings import AdmissionSettings
from services.pusher.comparison.settings import ComparisonSettings
from services.pusher.fanout.settings import ReplicationSettings
from services.pusher.import_store.settings import ImportStoreSettings
from services.pusher.imports.settings import RetentionSettings, RolloutSettings
from services.pusher.leadership.settings import PusherTurnSettings
from services.pusher.lineage.settings import LineageSettings
from services.pusher.log.settings import LogSettings
from services.pusher.personal.settings import PersonalSettings
from services.shared.config.bounds import (
    Bytes,
    Host,
    OptionalAddress,
    OptionalOwnFolder,
    OwnFolder,
    Port,
    Seconds,
    SecondsFrom0,
)
from services.shared.config.sections import Problem, Settings
from services.shared.domain.addresses import EVERY_ADDRESS, address_of
from services.shared.serving.settings import ServingSettings


class PusherSettings(Settings, frozen=True, kw_only=True):
    """The pusher of one cluster."""

    #: Address to listen on, on both ports; "0.0.0.0" or "::" for every one of the machine.
    listen_host: Host = "127.0.0.1"
    #: Port of PusherService and ImportSourceService (gRPC); 0 takes a free one.
    port: Port = 50300
    #: Port of health and metrics (HTTP); 0 takes a free one.
    http_port: Port = 50310
    #: host:port at which nodes reach this pusher; empty: `listen_host` and `port`, with 127.0.0.1 for an address that
    #: means every one.
    advertise: OptionalAddress = ""
    #: Folder of the log and the import files. One process has it at a time.
    state_folder: OwnFolder = "pusher"
    #: Folder that is watched for import files; empty: none. Taken ones move to `done/` in it,
    #: refused ones to `refused/`, with a result text.
    upload_folder: OptionalOwnFolder = ""
    #: How often it is looked at, in seconds.
    upload_poll_s: Seconds = 0.5
    #: A file without a `.done` marker is taken once it has not changed for so long, in seconds, and its last line is
    #: whole.
    upload_stable_s: SecondsFrom0 = 30.0
    #: A marker counts once it has not changed for so long, in seconds: who writes into it may have made it empty first.
    upload_marker_settle_s: SecondsFrom0 = 1.0

    admission: AdmissionSettings = field(default_factory=AdmissionSettings)
    log: LogSettings = field(default_factory=LogSettings)
    personal: PersonalSettings = field(default_factory=PersonalSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    import_files: ImportStoreSettings = field(default_factory=ImportStoreSettings)
    #: Largest import file, in bytes.
    import_bytes_max: Bytes = 64 << 30

    replication: ReplicationSettings = field(default_factory=ReplicationSettings)
    comparison: ComparisonSettings = field(default_factory=ComparisonSettings)
    lineage: LineageSettings = field(default_factory=LineageSettings)
    rollout: RolloutSettings = field(default_factory=RolloutSettings)
    turns: PusherTurnSettings = field(default_factory=PusherTurnSettings)
    serving: ServingSettings = field(default_factory=ServingSettings)

    #: How long open streams have to end when the pusher is asked to end, in seconds.
    drain_grace_s: SecondsFrom0 = 5.0

    @property
    def own_address(self) -> str:
        """host:port at which clients and nodes reach it, where its port is no free one that it takes."""
        host = "127.0.0.1" if self.listen_host in EVERY_ADDRESS else self.listen_host
        return self.advertise or address_of(host, self.port)

    @property
    def own_name(self) -> str:
        """The name, filled in."""
        return self.turns.name or socket.gethostname()

    @property
    def state_path(self) -> Path:
        """The state folder, whatever the working folder becomes."""
        return Path(self.state_folder).absolute()

    def problems(self) -> Iterator[Problem]:
        """Ports and folders that collide."""
        if self.http_port == self.port != 0:
            yield Problem("http_port", f"must differ from port, which is {self.port}")
        if self.upload_folder and PurePath(self.upload_folder) == PurePath(self.state_folder):
            yield Problem("upload_folder", "must differ from state_folder")
        if self.turns.takes_turns and self.port == 0:
            yield Problem("port", "must be set where takes_turns is: others name it")
