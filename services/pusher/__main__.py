"""`python -m services.pusher`: runs the pusher."""

from __future__ import annotations

import contextlib
from pathlib import Path

from services.pusher.app import Pusher
from services.pusher.log.store import LogStore, LogStoreError
from services.pusher.opening import open_store
from services.pusher.settings import PusherSettings
from services.pusher.without_log import open_log
from services.shared.config.load import load_settings
from services.shared.config.sections import ClusterSettings
from services.shared.serving.process import StartupError, run, service_command, settle_memory


def start(config: Path | None, overrides: dict[str, str]) -> None:
    """Runs until SIGTERM or SIGINT.

    Raises:
        SettingsError, StartupError, OSError: Why it can't; one line each.
    """
    cluster = load_settings(ClusterSettings, "cluster", config, overrides)
    settings = load_settings(PusherSettings, "pusher", config, overrides)

    with contextlib.ExitStack() as held:

        async def serve() -> Pusher:
            store, lock = await open_log(settings, cluster.name, lambda: _open_alone(settings, cluster.name))
            held.enter_context(lock)
            try:
                pusher = Pusher(settings, cluster, store)
            except LogStoreError as error:
                raise StartupError(str(error)) from error
            await pusher.start()
            settle_memory()
            return pusher

        run(serve)


def _open_alone(settings: PusherSettings, cluster: str) -> LogStore:
    """The log, to write to: no other pusher is beside this one."""
    store = open_store(settings, cluster)
    try:
        return store.claim_alone()
    except BaseException:
        store.close()  # whoever tries again must not find it in use
        raise


main = service_command("pusher", start)

if __name__ == "__main__":
    main()
