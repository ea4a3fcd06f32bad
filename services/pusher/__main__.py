"""`python -m services.pusher`: runs the pusher."""

from __future__ import annotations

from pathlib import Path

from services.pusher.app import Pusher
from services.pusher.log.sqlite import SqliteLog
from services.pusher.log.store import LogStoreError
from services.pusher.settings import PusherSettings
from services.shared.config.load import load_settings
from services.shared.config.sections import ClusterSettings
from services.shared.files.state_folder import lock_folder
from services.shared.serving.process import StartupError, run, service_command, settle_memory


def start(config: Path | None, overrides: dict[str, str]) -> None:
    """Runs until SIGTERM or SIGINT.

    Raises:
        SettingsError, StartupError, OSError: Why it can't; one line each.
    """
    cluster = load_settings(ClusterSettings, "cluster", config, overrides)
    settings = load_settings(PusherSettings, "pusher", config, overrides)
    folder = settings.state_path
    lock = lock_folder(folder)

    async def serve() -> Pusher:
        try:
            store = SqliteLog(folder, settings.log)
            pusher = Pusher(settings, cluster, store)
        except LogStoreError as error:
            raise StartupError(str(error)) from error
        await pusher.start()
        settle_memory()
        return pusher

    with lock:
        run(serve)


main = service_command("pusher", start)

if __name__ == "__main__":
    main()
