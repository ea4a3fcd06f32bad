"""A service's HTTP port, for those who operate it: health for load balancers and probes, figures for Prometheus.

By TLS where the process has a certificate: checks are answered to whoever asks, since probes have none; pages need one.

Every service has /livez and /readyz (200 while it is so, else 503 with the reason) and /metrics; it may add checks of
its own, such as /primary, and whole pages.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from aiohttp import web

from services.shared.security.audit.log import own_audit
from services.shared.security.own import check_clear, own_guard, own_tls
from services.shared.serving.http_guard import (
    KEEPALIVE_S,
    PatientSite,
    caller_check,
    host_check,
    http_logger,
    own_names,
)
from services.shared.serving.metrics import CONTENT_TYPE, OPEN_METRICS

#: What a connection under way has to end in, in seconds.
_SHUTDOWN_S = 1.0


class Verdict(NamedTuple):
    """What a check says now: whether it is so, and the line that the page shows."""

    good: bool
    text: str


Check = Callable[[], Verdict]


class Figures(Protocol):
    """What a service counts; see `metrics.py`."""

    def text(self, *, examples: bool = False) -> bytes:
        """All figures now."""


def live() -> Verdict:
    """Of a service that ends by itself where it can't go on: while it answers, it lives."""
    return Verdict(True, "live")


class OpsPort:
    """One service's HTTP port.

    Args:
        setting: The setting that says the port, such as "pusher.http_port".
        metrics: What /metrics shows.
        checks: Path to check; /readyz among them, and /livez where the service has a say in it.
        pages: Further pages.
        names: Host names by which pages with contents may be asked for, beside the machine's own; see http_guard.
    """

    def __init__(
        self,
        setting: str,
        metrics: Figures,
        checks: Mapping[str, Check],
        pages: Sequence[web.RouteDef] = (),
        names: Iterable[str] = (),
    ) -> None:
        self._setting = setting
        self._metrics = metrics
        checks = {"/livez": live, **checks}
        self._tls = own_tls()
        guards = [host_check(own_names(names), checks)]
        if (guard := own_guard()) is not None:
            guards.append(caller_check(checks, guard, by_tls=self._tls is not None))
        application = web.Application(middlewares=guards)
        for path, check in checks.items():
            application.router.add_get(path, _page_of(_with_audit(check) if path == "/readyz" else check))
        application.router.add_get("/metrics", self._figures)
        application.add_routes(pages)
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

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the port (0 took a free one). Raises OSError where it can't, naming the setting."""
        if self._tls is None:
            check_clear(host)
        await self._runner.setup()
        context = None if self._tls is None else self._tls.http_context
        try:
            await PatientSite(self._runner, host.strip("[]"), port, tls=context).start()
        except OSError as error:
            reason = "is it in use?" if error.errno == errno.EADDRINUSE else error.strerror
            why = f"can't listen on {host}:{port} (HTTP): {reason}; set {self._setting}"
            raise OSError(why) from error
        self.port = int(self._runner.addresses[0][1])
        return self.port

    async def stop(self) -> None:
        """Listens no more, and ends what is under way."""
        await self._runner.cleanup()

    async def _figures(self, request: web.Request) -> web.Response:
        return figures_page(self._metrics, request)


def figures_page(metrics: Figures, request: web.Request) -> web.Response:
    """All figures, in the format that is asked for."""
    examples = "application/openmetrics-text" in request.headers.get("Accept", "")
    content = OPEN_METRICS if examples else CONTENT_TYPE
    return web.Response(body=metrics.text(examples=examples), headers={"Content-Type": content})


def _with_audit(check: Check) -> Check:
    """It serves as ever where the audit log can't be written; whoever looks learns of it."""

    def both() -> Verdict:
        good, text = check()
        log = own_audit()
        return Verdict(good, f"{text}; operators' calls are refused: {log.problem}" if log and log.problem else text)

    return both


def _page_of(check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def page(_: web.Request) -> web.Response:
        good, text = check()
        return web.Response(status=200 if good else 503, text=text + "\n", headers={"Cache-Control": "no-store"})

    return page
