"""The console's HTTP port: the pages, what they ask for, health and figures."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from pathlib import Path

from aiohttp import web

from services.console.http.answers import as_json
from services.console.http.guarding import add_headers, api_check
from services.console.http.key import OperatorKey
from services.console.settings import DoorSettings
from services.shared.config.load import SettingsError
from services.shared.security.own import check_clear, is_loopback, own_tls
from services.shared.serving.http_guard import KEEPALIVE_S, PatientSite, host_check, http_logger, own_names

#: Told to whoever asks, by whatever name: yes or no.
OPEN_PATHS = ("/livez", "/readyz")
_SHUTDOWN_S = 1.0


class ConsolePort:
    """Listens. Raises SettingsError where a key is needed and none is named, OSError where its file can't be made."""

    def __init__(self, settings: DoorSettings, names: Iterable[str], routes: Iterable[web.RouteDef]) -> None:
        self._settings = settings
        self._open = is_loopback(settings.listen_host)
        if not settings.key_file and (own_tls() is not None or not self._open):
            raise SettingsError("console.key_file: is empty, and whoever reaches the port would operate: name a file")
        key = OperatorKey(Path(settings.key_file).absolute()) if settings.key_file else None
        #: Whether operators have to show a key.
        self.has_key = key is not None
        checks = [host_check(own_names((settings.listen_host, *names)), OPEN_PATHS), as_json, api_check(key)]
        application = web.Application(middlewares=checks)
        application.add_routes(list(routes))
        application.on_response_prepare.append(add_headers)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            logger=http_logger,
            shutdown_timeout=_SHUTDOWN_S,
            handler_cancellation=True,
            keepalive_timeout=KEEPALIVE_S,
        )
        #: Where it listens, from `start` on.
        self.port = 0

    async def start(self) -> int:
        """Listens: in clear where this machine alone reaches it, else by the process's certificate. Raises OSError."""
        host, port = self._settings.listen_host, self._settings.port
        tls = None if self._open else own_tls()
        if tls is None:
            check_clear(host)
        await self._runner.setup()
        try:
            context = None if tls is None else tls.http_context
            await PatientSite(self._runner, host.strip("[]"), port, tls=context).start()
        except OSError as error:
            reason = "is it in use?" if error.errno == errno.EADDRINUSE else error.strerror
            raise OSError(f"can't listen on {host}:{port} (HTTP): {reason}; set console.port") from error
        self.port = int(self._runner.addresses[0][1])
        return self.port

    async def stop(self) -> None:
        """Listens no more, and ends what is under way."""
        await self._runner.cleanup()
