"""`python -m services.pusher`: runs the pusher."""

from __future__ import annotations

import contextlib
from pathlib import Path

from services.pusher.app import Pusher
from services.pusher.import_store.opening import open_imports
from services.pusher.leadership.keeping import CoordinatorLink
from services.pusher.leadership.runner import PusherTurns
from services.pusher.leadership.standby import FollowedLog, Standby
from services.pusher.log.store import LogStore, LogStoreError
from services.pusher.opening import open_store
from services.pusher.ports import PusherPorts
from services.pusher.settings import PusherSettings
from services.pusher.without_log import open_log
from services.shared.clock import MonotonicClock
from services.shared.config.load import SettingsError, load_settings
from services.shared.config.sections import ClusterSettings
from services.shared.files.state_folder import lock_folder
from services.shared.membership.source import HostSources
from services.shared.security.audit.log import begin_audit
from services.shared.security.audit.settings import AuditSettings
from services.shared.serving.process import StartupError, run, service_command, settle_memory


def start(config: Path | None, overrides: dict[str, str]) -> None:
    """Runs until SIGTERM or SIGINT.

    Raises:
        SettingsError, StartupError, OSError: Why it can't; one line each.
    """
    cluster = load_settings(ClusterSettings, "cluster", config, overrides)
    settings = load_settings(PusherSettings, "pusher", config, overrides)
    audit = load_settings(AuditSettings, "audit", config, overrides)
    if settings.turns.takes_turns:
        _start_one_of_several(cluster, settings, audit)
        return

    with contextlib.ExitStack() as held:

        async def serve() -> Pusher:
            store, lock = await open_log(settings, cluster.name, lambda: _open_alone(settings, cluster.name))
            held.enter_context(lock)
            begin_audit(audit, "pusher", settings.state_path)
            try:
                pusher = Pusher(settings, cluster, store)
            except LogStoreError as error:
                raise StartupError(str(error)) from error
            await pusher.start()
            settle_memory()
            return pusher

        run(serve)


def one_of_several(cluster: ClusterSettings, settings: PusherSettings) -> PusherTurns:
    """One pusher of several, to be started."""
    imports, hosts = open_imports(settings, cluster.name), HostSources(cluster)
    ports = PusherPorts(settings, tuple(cluster.http_hosts), settings.turns.claim_wait_s)
    return PusherTurns(
        settings.own_name,
        MonotonicClock(),
        ports,
        follow=lambda: FollowedLog(
            lambda: open_store(settings, cluster.name), imports, settings.turns.follow_interval_s
        ),
        stand_by=lambda turn, log, refusal: Standby(
            cluster.name, turn, log, refusal, ports.server, settings.state_path
        ),
        act=lambda store, epoch: Pusher(
            settings, cluster, store, epoch=epoch, ports=ports, imports=imports, hosts=hosts
        ),
        link=lambda status, told: CoordinatorLink(
            cluster.coordinator, cluster.name, settings.own_name, settings.own_address, status, told
        ),
        hosts=hosts.follow,
    )


def _start_one_of_several(cluster: ClusterSettings, settings: PusherSettings, audit: AuditSettings) -> None:
    """Runs a pusher that stands by until the coordinator makes it active."""
    if not cluster.coordinator:
        raise SettingsError("pusher.takes_turns: cluster.coordinator is empty, and says whose turn it is: name it")

    async def serve() -> PusherTurns:
        turns = one_of_several(cluster, settings)
        await turns.start()
        settle_memory()
        return turns

    with lock_folder(settings.state_path, shared=True):
        begin_audit(audit, "pusher", settings.state_path, settings.own_name)
        run(serve)


def _open_alone(settings: PusherSettings, cluster: str) -> LogStore:
    """The log, to write to: no other pusher is beside this one."""
    store = open_store(settings, cluster)
    try:
        return store.claim_alone()
    except BaseException:
        store.close()  # whoever tries again must not find it in use
        raise


main = service_command("pusher", start, keeps_members=True)

if __name__ == "__main__":
    main()
