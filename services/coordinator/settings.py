"""`[coordinator]`: what the coordinator is set by."""

from __future__ import annotations

from pathlib import Path

import msgspec

from services.coordinator.election.election import ElectionSettings
from services.shared.config.load import SettingsError


class CoordinatorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The coordinator of one cluster."""

    #: Address to listen on, on both ports.
    listen_host: str = "0.0.0.0"
    #: Port of CoordinatorService (gRPC); 0 takes a free one.
    port: int = 50400
    #: Port of health and metrics (HTTP); 0 takes a free one.
    http_port: int = 50410
    #: Folder of what must survive: the epoch, the primary, the pause. One process has it at a time.
    state_folder: str = "state/coordinator"

    #: How long a node is taken for alive after a heartbeat, in seconds. Nodes should send four in that time. A dead
    #: primary is replaced when its lease has run out; a shorter lease takes a slow node for a dead one more easily.
    lease_s: float = 1.0
    #: How long a switchover's target may take to catch up with the primary, in seconds.
    switchover_timeout_s: float = 30.0
    #: How long the target may then take for the old primary's last updates, in seconds.
    closing_s: float = 1.0
    #: How often both are asked for their position meanwhile, in seconds.
    probe_interval_s: float = 0.01
    #: A write to the store that failed is tried again after this long, in seconds.
    write_again_s: float = 0.25
    #: How long a node that was elected and did not take the role lets others go first, in seconds.
    demotion_s: float = 10.0
    #: How long a dead node that is not in the host file stays listed, in seconds.
    forget_s: float = 600.0

    #: Whoever watches the cluster hears of it at least this often, in seconds.
    watch_interval_s: float = 1.0
    #: How often the host file is looked at for changes, in seconds.
    hosts_file_interval_s: float = 1.0
    #: How long calls may take to finish when the coordinator is asked to end, in seconds.
    drain_grace_s: float = 2.0

    @property
    def state_path(self) -> Path:
        """The state folder, whatever the working folder becomes."""
        return Path(self.state_folder).absolute()


def election_settings(settings: CoordinatorSettings) -> ElectionSettings:
    """The times of the core.

    Raises:
        SettingsError: A value that can't be; one line that names it.
    """
    for field in ("lease_s", "switchover_timeout_s", "closing_s", "probe_interval_s", "write_again_s"):
        if not getattr(settings, field) > 0:
            raise SettingsError(f"[coordinator] {field} = {getattr(settings, field)}: must be more than 0")
    for field in ("watch_interval_s", "hosts_file_interval_s"):
        if not getattr(settings, field) > 0:
            raise SettingsError(f"[coordinator] {field} = {getattr(settings, field)}: must be more than 0")
    for field in ("demotion_s", "forget_s", "drain_grace_s"):
        if not getattr(settings, field) >= 0:
            raise SettingsError(f"[coordinator] {field} = {getattr(settings, field)}: must be 0 or more")
    return ElectionSettings(
        lease_s=settings.lease_s,
        switchover_timeout_s=settings.switchover_timeout_s,
        closing_s=settings.closing_s,
        probe_interval_s=settings.probe_interval_s,
        write_again_s=settings.write_again_s,
        demotion_s=settings.demotion_s,
        forget_s=settings.forget_s,
    )
