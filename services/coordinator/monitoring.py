"""What the coordinator tells monitoring: /livez, /readyz, /metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aiohttp import web
from opentelemetry.metrics import CallbackOptions, Observation

from services.coordinator.election.runner import CoreRunner
from services.coordinator.service import CoordinatorServicer
from services.shared.serving.metrics import CONTENT_TYPE, Metrics


class Monitoring:
    """Figures of the core, read when they are asked for.

    Attributes:
        stopping: Not ready from then on.
    """

    def __init__(self, runner: CoreRunner, servicer: CoordinatorServicer) -> None:
        self._runner = runner
        self._metrics = Metrics("coordinator")
        self._runner_http: web.AppRunner | None = None
        self.stopping = False
        core, counts = runner.core, runner.counts
        self._gauge("epoch", "Number of the newest election.", lambda: core.recorded.epoch)
        self._gauge("paused", "1 while elections are paused.", lambda: core.recorded.paused)
        self._gauge("has_primary", "1 while there is a primary.", lambda: bool(core.seat.primary))
        self._counter("heartbeats", "Heartbeats received.", lambda: servicer.heartbeats_received)
        self._counter("elections", "Elections won.", lambda: counts["elections"])
        self._counter("refusals", "Heartbeats of a second process of one name.", lambda: counts["refusals"])
        self._counter("write_failures", "Writes to the store that failed.", lambda: counts["write_failures"])
        meter = self._metrics.meter
        meter.create_observable_gauge(
            "fasttree_coordinator_node_alive", [self._alive], description="1 while the node's lease runs."
        )
        meter.create_observable_gauge(
            "fasttree_coordinator_node_primary", [self._primary], description="1 for the primary, 0 for the others."
        )
        meter.create_observable_gauge(
            "fasttree_coordinator_node_silent_seconds", [self._silent], description="Since the node's last heartbeat."
        )

    def _gauge(self, name: str, description: str, read: Callable[[], float]) -> None:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(int(read()))]

        self._metrics.meter.create_observable_gauge(f"fasttree_coordinator_{name}", [observe], description=description)

    def _counter(self, name: str, description: str, read: Callable[[], int]) -> None:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(read())]

        self._metrics.meter.create_observable_counter(
            f"fasttree_coordinator_{name}", [observe], description=description
        )

    def _alive(self, _: CallbackOptions) -> Iterable[Observation]:
        now = self._runner.now()
        return [Observation(int(lease.is_alive(now)), {"node": lease.node}) for lease in self._runner.core.leases]

    def _primary(self, _: CallbackOptions) -> Iterable[Observation]:
        seat = self._runner.core.seat
        return [Observation(int(seat.is_granted_to(lease)), {"node": lease.node}) for lease in self._runner.core.leases]

    def _silent(self, _: CallbackOptions) -> Iterable[Observation]:
        now = self._runner.now()
        return [Observation(max(0.0, now - lease.heard_at), {"node": lease.node}) for lease in self._runner.core.leases]

    # ---- HTTP --------------------------------------------------------------------------------------------------------

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the port. Raises OSError where it can't, naming the address."""
        application = web.Application()
        application.add_routes(
            [web.get("/livez", self._livez), web.get("/readyz", self._readyz), web.get("/metrics", self._text)]
        )
        self._runner_http = web.AppRunner(application, access_log=None)
        await self._runner_http.setup()
        try:
            await web.TCPSite(self._runner_http, host, port).start()
        except OSError as error:
            raise OSError(f"can't listen on {host}:{port} (HTTP): {error.strerror}; set another port") from error
        return int(self._runner_http.addresses[0][1])

    async def stop(self) -> None:
        """Ends the HTTP server."""
        if self._runner_http is not None:
            await self._runner_http.cleanup()
        self._metrics.close()

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        problem = "ending" if self.stopping else self._runner.core.ledger.problem
        return web.Response(text=f"not ready: {problem}\n", status=503) if problem else web.Response(text="ready\n")

    async def _text(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})
