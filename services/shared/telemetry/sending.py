"""The thread that takes spans and figures to where they are kept. What fails there is told once, in the log, and drops
them."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from services.shared.own_version import own_version
from services.shared.telemetry.figures.reading import NewestReading, Reading
from services.shared.telemetry.spans import Span, Value
from services.shared.telemetry.tracer import Tracer

logger = logging.getLogger(__name__)

#: Once what sends has been told to end, a batch under way is given up after this time, in seconds.
_GIVE_UP_S = 0.5


class SendError(Exception):
    """A batch was not taken; one line."""


class Sink(Protocol):
    """Where spans are kept. Only the sending thread's, but for `close`."""

    def send(self, spans: Sequence[Span]) -> None:
        """Raises SendError."""

    def close(self) -> None:
        """Ends a `send` under way too."""


class FigureSink(Protocol):
    """Where figures are kept. Only the sending thread's."""

    def send_figures(self, reading: Reading) -> None:
        """Raises SendError."""


class Sending:
    """Empties a tracer's queue into its sinks, and sends the newest reading of the figures.

    Raises:
        OSError, TelemetryError: A file that the settings name can't be used.
    """

    def __init__(self, tracer: Tracer, service: str, cluster: str) -> None:
        self._tracer = tracer
        self._service, self._cluster = service, cluster
        self._ends = False
        #: By what does not arrive where.
        self._troubles: dict[tuple[str, str], str] = {}
        #: What waits of the process's figures; None: nobody takes them.
        self.figures: NewestReading | None = None
        self._figure_sink: FigureSink | None = None
        self._sinks: list[tuple[str, Sink]] = self._make_sinks()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def _make_sinks(self) -> list[tuple[str, Sink]]:
        settings, sinks = self._tracer.settings, list[tuple[str, Sink]]()
        if settings.file:
            from services.shared.telemetry.sinks.span_file import SpanFile

            sinks.append((settings.file, SpanFile(settings, self.resource)))
        if settings.endpoint:
            from services.shared.telemetry.sinks.collector import Collector

            collector = Collector(settings, self.resource)
            sinks.append((settings.endpoint, collector))
            if settings.metrics:
                self.figures, self._figure_sink = NewestReading(settings.metrics_interval_s), collector
        return sinks

    def resource(self) -> Mapping[str, Value]:
        """What the process is, by OpenTelemetry's conventions."""
        return {
            "service.name": f"fasttree-{self._service}",
            "service.namespace": self._cluster,
            "service.instance.id": self._tracer.instance or f"{socket.gethostname()}-{os.getpid()}",
            "service.version": own_version(),
            "host.name": socket.gethostname(),
            "process.pid": os.getpid(),
        }

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self, within_s: float) -> None:
        """Sends what waits, or gives it up."""
        self._ends = True
        self._tracer.queue.wanted.set()
        self._thread.join(within_s)
        for _, sink in self._sinks:
            sink.close()
        self._thread.join(_GIVE_UP_S)

    def _run(self) -> None:
        queue = self._tracer.queue
        while True:
            queue.wanted.wait(self._tracer.settings.interval_s)
            queue.wanted.clear()
            ends = self._ends
            while spans := queue.take():
                self._send(spans)
            if self.figures is not None and (reading := self.figures.take()) is not None:
                self._send_figures(self.figures, reading)
            if ends:
                return

    def _send(self, spans: Sequence[Span]) -> None:
        counts = self._tracer.queue.counts
        for place, sink in self._sinks:
            if self._arrive("spans", place, lambda sink=sink: sink.send(spans)):  # type: ignore[misc]
                counts.sent += len(spans)
            else:
                counts.lost += len(spans)

    def _send_figures(self, figures: NewestReading, reading: Reading) -> None:
        sink = self._figure_sink
        assert sink is not None
        if self._arrive("figures", self._tracer.settings.endpoint, lambda: sink.send_figures(reading)):
            figures.counts.sent += 1
        else:
            figures.counts.lost += 1

    def _arrive(self, what: str, place: str, send: Callable[[], None]) -> bool:
        """Whether they do. What keeps them from it is told once, however often it happens."""
        trouble = ""
        try:
            send()
        except Exception as error:  # whatever is wrong there: a process does not end by what it tells of itself
            trouble = str(error) if isinstance(error, SendError) else repr(error)
        before = self._troubles.get((what, place), "")
        self._troubles[what, place] = trouble
        if trouble and not before:
            logger.warning("%s don't reach %s, and are dropped until they do: %s", what, place, trouble)
        elif before and not trouble:
            logger.info("%s reach %s again", what, place)
        return not trouble
